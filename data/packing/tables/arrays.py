"""Numeric arrays whose first dimension is samples -> one sample per entry: `polytrain pack arrays`.

    FILE.npy                 one field, `array`
    FILE.npz                 one field per array in it, by its name
    a folder of .npy files   one field per file, by its name without .npy

Members are `NAME.npy` (also for numbers: an array without dimensions), and `cls` for the array given as `labels`.
An .npy is mapped, not loaded; the arrays of an .npz are loaded whole, once per process. Nothing is unpickled: arrays
of objects are refused.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from configs.errors import DataError
from configs.options import nearest
from data.packing.record import Item, Member, Packer, Record
from data.packing.tables.options import ArrayPackOptions

Arrays = dict[str, NDArray[np.generic]]


class ArrayPacker(Packer[int]):
    """A `Packer` of arrays side by side. The content of an item is its place in them."""

    def __init__(self, options: ArrayPackOptions, location: Path) -> None:
        self.options = options
        self._location = Path(location)

    def items(self) -> Iterator[Item[int]]:
        """Samples in order."""
        groups = self._arrays[self.options.groups] if self.options.groups is not None else None
        for number in range(len(next(iter(self._arrays.values())))):
            name = f"{self._location.name}:{number}"
            yield Item(name, name if groups is None else f"group:{groups[number]}", number)

    def encode(self, item: Item[int]) -> Record:
        """Copy one entry of every array."""
        members: dict[str, Member] = {
            f"{name}.npy": np.array(self._arrays[name][item.content]) for name in self._packed
        }
        if self.options.labels is not None:
            members["cls"] = int(self._arrays[self.options.labels][item.content])
        shape = self._arrays[self._packed[0]].shape if self._packed else ()
        return Record(members, length=shape[1] if len(shape) > 1 else 0)

    def facts(self) -> Mapping[str, JsonValue]:
        """Type and shape of one sample of every field."""
        return {
            "arrays": {
                name: {"dtype": str(self._arrays[name].dtype), "shape": list(self._arrays[name].shape[1:])}
                for name in self._packed
            }
        }

    def __getstate__(self) -> dict[str, object]:
        # A mapped array would be sent whole.
        return {name: value for name, value in self.__dict__.items() if name != "_arrays"}

    @property
    def _packed(self) -> list[str]:
        """Names of the fields."""
        return [name for name in self._arrays if name not in (self.options.labels, self.options.groups)]

    @cached_property
    def _arrays(self) -> Arrays:
        arrays = _load(self._location)
        first = next(iter(arrays))
        for name, array in arrays.items():
            _require_numbers(self._location, name, array)
            if len(array) != len(arrays[first]):
                raise DataError(
                    f"{self._location}: '{name}' has {len(array)} samples, '{first}' has {len(arrays[first])}; "
                    "the first dimension of all arrays must be the same samples."
                )
        for option in ("labels", "groups"):
            name = getattr(self.options, option)
            if name is not None and name not in arrays:
                raise DataError(f"{option}: {self._location} has no array '{name}'; {nearest(name, arrays)}")
            if name is not None and (arrays[name].ndim != 1 or arrays[name].dtype.kind not in "iu"):
                raise DataError(
                    f"{option}: '{name}' of {self._location} is {arrays[name].dtype} {list(arrays[name].shape)}; "
                    "expected one whole number per sample, [samples]."
                )
        if set(arrays) <= {self.options.labels, self.options.groups}:
            raise DataError(f"{self._location}: no array is left to pack beside labels and groups.")
        return arrays


def _load(location: Path) -> Arrays:
    """The arrays by name, in alphabetical order."""
    try:
        if location.is_dir():
            arrays = {path.stem: _mapped(path) for path in sorted(location.glob("*.npy"))}
        elif location.suffix == ".npz":
            with np.load(location, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in sorted(archive.files)}
        elif location.suffix == ".npy":
            arrays = {"array": _mapped(location)}
        else:
            raise DataError(f"{location}: expected an .npy, an .npz, or a folder of .npy files.")
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{location}: cannot be read: {error}. Expected arrays of numbers, saved without pickled objects."
        ) from None
    if not arrays:
        raise DataError(f"{location}: holds no .npy arrays.")
    return arrays


def _mapped(path: Path) -> NDArray[np.generic]:
    array: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _require_numbers(location: Path, name: str, array: object) -> None:
    if not isinstance(array, np.ndarray) or array.ndim == 0 or array.dtype.kind not in "biufc":
        found = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__
        raise DataError(
            f"{location}: '{name}' is {found}; expected numbers with samples as the first dimension. "
            "Save each field of a structured array, and texts as numbers, in arrays of their own."
        )
    # The name becomes part of a file name in the shards.
    if not name.isidentifier() or not name.isascii() or name != name.lower():
        raise DataError(f"{location}: an array called '{name}'; use lower-case letters, digits and '_'.")
