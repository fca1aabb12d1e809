"""What is installed on this node; all nodes must have the same."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch

from launch.preflight.report import Result

_PACKAGES = (
    "polytrain",
    "torch",
    "deepspeed",
    "accelerate",
    "safetensors",
    "webdataset",
    "datasets",
    "tokenizers",
    "numpy",
    "pydantic",
    "flash-attn",
)
_ROOMS = ("configs", "data", "model", "train", "launch")
_DRIVER = Path("/sys/module/nvidia/version")

# What steers communication and arithmetic, and is easily set on one node only.
_VARIABLES = ("NCCL_", "GLOO_", "TORCH_NCCL_", "OMP_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG", "PYTORCH_")

# Below this share, another program holds the memory.
_FREE_SHARE = 0.5


def versions() -> Result:
    """Python, packages, libraries of the GPU, and our own code; None for what is not installed."""
    facts: dict[str, str | None] = {"python": platform.python_version()}
    facts |= {package: _version_of(package) for package in _PACKAGES}
    facts["polytrain code"] = code_hash(Path(__file__).parents[2])
    facts["cuda"] = torch.version.cuda
    facts["driver"] = _DRIVER.read_text().strip() if _DRIVER.exists() else None
    if torch.cuda.is_available():
        facts["nccl"] = ".".join(map(str, torch.cuda.nccl.version()))  # type: ignore[no-untyped-call]
        facts["cudnn"] = str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]
    return Result(facts=facts)


def system() -> Result:
    """Kernel, processors, memory and variables: they may differ, but seldom should."""
    memory = psutil.virtual_memory()
    facts = {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "usable cores": len(os.sched_getaffinity(0)),
        "memory": f"{memory.total / 2**30:.0f} GiB",
    }
    facts |= {name: text for name, text in sorted(os.environ.items()) if name.startswith(_VARIABLES)}
    result = Result(facts=facts)
    if memory.available < _FREE_SHARE * memory.total:
        free, total = memory.available / 2**30, memory.total / 2**30
        result.warnings.append(f"{free:.0f} of {total:.0f} GiB of memory are free: another program holds the rest")
    return result


def code_hash(root: Path) -> str:
    """The first 12 digits of a sha256 over the names and contents of all Python files of polytrain."""
    digest = hashlib.sha256()
    for path in sorted(path for room in _ROOMS for path in (root / room).rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
