"""Named tensors in safetensors files, read one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from safetensors import SafetensorError, safe_open
from torch import Tensor

from configs.errors import ConfigError

_SUFFIX = ".safetensors"


class WeightSource(Protocol):
    """Named tensors."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every tensor."""

    def read(self, name: str) -> Tensor:
        """One tensor, in the precision it is stored in."""


class WeightFiles:
    """The tensors of one or several safetensors files."""

    def __init__(self, paths: list[Path]) -> None:
        self._files: dict[str, Any] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        for path in paths:
            try:
                opened: Any = safe_open(path, framework="pt")
            except (OSError, SafetensorError) as error:
                raise ConfigError(f"{path}: cannot be read: {error}") from None
            for name in opened.keys():  # noqa: SIM118 - not a mapping
                if name in self._files:
                    raise ConfigError(f"{path}: {name} is in another file of the folder too; name one of them.")
                self._files[name] = opened
                self._shapes[name] = tuple(opened.get_slice(name).get_shape())

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every tensor."""
        return self._shapes

    def read(self, name: str) -> Tensor:
        """One tensor, in the precision it is stored in."""
        return self._files[name].get_tensor(name)  # type: ignore[no-any-return]


def open_files(path: Path) -> WeightFiles:
    """The tensors of a file, or of all files of a folder.

    Raises:
        ConfigError: when there are none, or they cannot be read.
    """
    paths = sorted(path.glob(f"*{_SUFFIX}")) if path.is_dir() else [path]
    if not paths or not paths[0].is_file():
        raise ConfigError(f"{path}: expected a {_SUFFIX} file or a folder of them; `polytrain import` makes one.")
    return WeightFiles(paths)
