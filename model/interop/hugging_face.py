"""Reading a Hugging Face folder: config.json and safetensors. Nothing is unpickled, and no code in it is run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from configs.errors import CheckpointError, ConfigError, UserError
from model.interop.families import family
from model.interop.family import Config, Description, Family

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "chat_template.jinja",
)
"What transformers reads a tokenizer from."

_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_CONVERT = "import transformers; transformers.{cls}.from_pretrained('{folder}').save_pretrained('{folder}-safetensors')"


def read_config(folder: Path) -> dict[str, Any]:
    """The content of config.json.

    Raises:
        ConfigError: when `folder` has none, or it says no `model_type`.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: not a folder. Expected one with config.json and model.safetensors.")
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder}: not a Hugging Face folder: it has no config.json.")
    config = _read_json(folder / "config.json")
    if not isinstance(config.get("model_type"), str):
        raise ConfigError(f"{folder / 'config.json'}: the key 'model_type' is missing.")
    return config


def describe(config: Config, where: Path) -> tuple[Family, str, Description]:
    """The family, the class, and our description of the model that a config.json describes.

    Args:
        config: its content.
        where: the file, for messages.

    Raises:
        ConfigError: when it is of no family, of a class without a table, or describes what we do not compute.
    """
    try:
        if config.get("quantization_config"):
            raise ConfigError("quantization_config: weights are quantised; import the folder they were quantised from.")
        found = family(config["model_type"])
        named = config.get("architectures") or list(found.architectures)[:1]
        if not isinstance(named, list) or len(named) != 1 or named[0] not in found.architectures:
            raise ConfigError(f"architectures {named}: expected one of {', '.join(found.architectures)}.")
        (architecture,) = named
        return found, architecture, found.describe(config, architecture)
    except UserError as error:
        raise ConfigError(f"{where}: {error}") from None
    except KeyError as error:
        raise ConfigError(f"{where}: the key {error} is missing.") from None
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, line['loc']))}: {line['msg']}" for line in error.errors()]
        raise ConfigError(f"{where}: describes no possible model: {'; '.join(lines)}") from None
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: a value is of the wrong kind: {error}") from error


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of model.safetensors, or of the files that its index names.

    Raises:
        ConfigError: when there are no safetensors.
        CheckpointError: when they are damaged or incomplete.
    """
    if (folder / _WEIGHTS).is_file():
        return _read_file(folder / _WEIGHTS)
    if not (folder / _INDEX).is_file():
        raise ConfigError(_no_weights(folder))
    files: dict[str, list[str]] = {}
    weight_map = _read_json(folder / _INDEX).get("weight_map")
    if not isinstance(weight_map, Mapping):
        raise CheckpointError(f"{folder / _INDEX}: the key 'weight_map' is missing.")
    for name, file in weight_map.items():
        if not isinstance(file, str) or Path(file).name != file:
            raise CheckpointError(f"{folder / _INDEX}: {name} is said to be in {file!r}, expected a file beside it.")
        files.setdefault(file, []).append(name)
    weights: dict[str, Tensor] = {}
    for file, names in files.items():
        weights |= _read_file(folder / file, names)
    return weights


def _read_file(path: Path, names: Iterable[str] | None = None) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            present = set(file.keys())
            wanted = sorted(present) if names is None else list(names)
            missing = [name for name in wanted if name not in present]
            if missing:
                raise CheckpointError(f"{path}: has no {', '.join(missing[:3])}, which its index says it has.")
            return {name: file.get_tensor(name) for name in wanted}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: missing, damaged or cut short: {error}. Fetch it again.") from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping of keys, found a {type(content).__name__}.")
    return content


def _no_weights(folder: Path) -> str:
    pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(pattern))
    if not pickled:
        return f"{folder}: has no weights: neither {_WEIGHTS} nor {_INDEX}."
    (cls,) = read_config(folder).get("architectures") or ["AutoModel"]
    return (
        f"{folder}: its weights are pickled ({', '.join(pickled[:3])}). Reading a pickle runs whatever code it holds, "
        "so it is refused. If you trust where it came from, convert it where transformers is installed, and put the "
        "tokenizer's files beside the result:\n"
        f'  python -c "{_CONVERT.format(cls=cls, folder=folder)}"'
    )
