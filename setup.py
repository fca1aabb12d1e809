"""Installation of polytrain: packages, dependencies, the command.

    pip install -e '.[text,image,audio,tabular,dev]'
    pip install -e '.[text]' -c constraints.txt      the versions that are tested

Ranges below are what the code is written for; constraints.txt pins what the tests ran with.
"""

from setuptools import setup

# Listed by hand: find_packages would also install `tests`.
PACKAGES = [
    "configs",
    "data",
    "data.audio",
    "data.images",
    "data.packing",
    "data.packing.audio",
    "data.packing.images",
    "data.packing.tables",
    "data.packing.text",
    "data.packing.text.readers",
    "data.priors",
    "data.tables",
    "data.text",
    "launch",
    "launch.preflight",
    "launch.report",
    "launch.reproduce",
    "model",
    "model.backends",
    "model.embedders",
    "model.int8",
    "model.int8.kernels",
    "model.int8.operators",
    "model.interop",
    "model.mixers",
    "model.positions",
    "model.surgery",
    "train",
    "train.engines",
    "train.objectives",
    "train.plan",
    "train.probes",
    "train.reproduce",
]

setup(
    packages=PACKAGES,
    package_data={
        "": ["py.typed"],
        "configs": ["*.json", "**/*.yaml"],
        "data.packing": ["*.yaml"],
        "launch": ["*.sh", "*.sbatch", "kubernetes/*.yaml"],
        "launch.report": ["*.html", "*.css", "*.js"],
        "train.plan": ["*.yaml"],
    },
    python_requires=">=3.11",
    install_requires=[
        "accelerate>=1.10",
        "braceexpand>=0.1.7",
        "datasets>=4.0",
        "deepspeed>=0.19",
        "fsspec>=2024.6",
        "huggingface-hub>=0.34",
        "numpy>=1.26",
        "omegaconf>=2.3",
        "psutil>=5.9",
        "pydantic>=2.10",
        "pyyaml>=6.0",
        "safetensors>=0.5",
        "tensorboard>=2.15",
        "torch>=2.8",
        "tqdm>=4.66",
        "typing-extensions>=4.12",
        "webdataset>=1.0",
    ],
    extras_require={
        "text": ["tokenizers>=0.21", "zstandard>=0.22"],
        "image": ["torchvision>=0.23", "pillow>=10"],
        "audio": ["soundfile>=0.12", "torchaudio>=2.8"],
        "tabular": ["pandas>=2.2", "pyarrow>=15", "scikit-learn>=1.5"],
        "remote": ["fsspec[http]>=2024.6"],
        "flash": ["flash-attn>=2.8"],
        "dev": [
            "fsspec[http]>=2024.6",
            "hypothesis>=6.100",
            "jsonschema>=4.20",
            "mypy>=1.15",
            "pytest>=8.0",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            "ruff>=0.9",
            "transformers>=5.0",
            "types-PyYAML",
            "types-psutil",
            "types-tqdm",
        ],
    },
    entry_points={"console_scripts": ["polytrain = launch.cli:entry"]},
)
