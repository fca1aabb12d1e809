"""The samples of any source, computed or read, as shards: every field a member of its own.

    polytrain pack source forest.yaml shards/forest --key data.train

Read back by `kind: samples`, they are the same arrays, of the same types.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import JsonValue

from configs.errors import DataError
from data.packing.any_source_options import SourcePackOptions
from data.packing.record import Item, Packer, Record
from data.sample import Source
from data.sources import build_source, source_at
from data.transforms import name_of


class SourcePacker(Packer[int]):
    """Packs the samples of a source, in the order of their indices."""

    def __init__(self, options: SourcePackOptions, location: str) -> None:
        self._options = options
        self._described = source_at(location, options.key)
        self._source: Source | None = None

    def items(self) -> Iterator[Item[int]]:
        for index in range(len(self._built())):
            yield Item(f"{index:012d}", f"{index:012d}", index)

    def encode(self, item: Item[int]) -> Record:
        sample = self._built()[item.content]
        members: dict[str, Any] = {}
        for name, array in sample.items():
            if not re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)*", name):  # tars of samples have one case and no other marks
                raise DataError(f"field '{name}' cannot be the name of a member: use lower-case letters, digits and _.")
            if array.dtype.kind == "U" and not array.shape:
                members[f"{name}.txt"] = str(array)
            elif array.dtype.kind in "biufc":
                members[f"{name}.npy"] = array
            else:
                where = name_of(self._built(), item.content)
                raise DataError(f"{where}: field '{name}' holds {array.dtype}, expected numbers or a text.")
        return Record(members)

    def facts(self) -> dict[str, JsonValue]:
        return {"source": self._described.tree(), "fingerprint": self._built().fingerprint}

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_source": None}

    def _built(self) -> Source:
        if self._source is None:
            self._source = build_source(self._described)
        return self._source
