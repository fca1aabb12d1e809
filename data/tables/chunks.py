"""`Chunks`: the packed chunks of tables in a list of shards, each read when it is asked for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from configs.errors import DataError
from data.arrays import ArrayReader
from data.index import content_hashes
from data.sample import SampleError
from data.shard_names import ShardNames
from data.shards import expand, open_shards
from data.storage import Storage, is_url
from data.tables.schema import SCHEMA_FILE, Schema, load_schema

MEMBERS = ("numeric.npy", "categorical.npy", "json")

_CELL_BYTES = 4
_MAX_HEADER_BYTES = 1024


@dataclass(frozen=True)
class ChunkPlace:
    """One chunk of a table."""

    table: str
    rows: int
    shard: int
    sample: int


class Chunks:
    """The chunks of all shards, in order."""

    def __init__(self, shards: ShardNames, schema_file: str | None, storage: Storage | None = None) -> None:
        names = expand(shards)
        if not names:
            raise DataError("shards: names no shard.")
        if schema_file is None and is_url(names[0]):
            raise DataError(f"{names[0]}: set the key schema_file to a copy of its {SCHEMA_FILE} on a disk.")
        self._schema_path = Path(schema_file) if schema_file else Path(names[0]).with_name(SCHEMA_FILE)
        self.schema: Schema = load_schema(self._schema_path)
        self._shards = open_shards(shards, storage)
        self._read_array = ArrayReader()
        for shard in self._shards:
            if lacking := sorted(set(MEMBERS) - set(shard.index.members)):
                raise DataError(
                    f"{shard.index.shard_path}: holds no packed tables: {', '.join(lacking)} is missing among its "
                    f"members {', '.join(shard.index.members) or '(none)'}. Pack tables with: polytrain pack table"
                )

    @property
    def content(self) -> bytes:
        """What decides every chunk and what it means."""
        return self.schema.to_bytes() + content_hashes(shard.index for shard in self._shards)

    @cached_property
    def places(self) -> list[ChunkPlace]:
        """Every chunk. Reads the few bytes of JSON of each."""
        return [self._place(shard, sample) for shard in range(len(self._shards)) for sample in self._samples(shard)]

    def read(self, place: ChunkPlace) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Numeric [R, Cn] and categorical columns [R, Cc] of a chunk.

        Raises:
            SampleError: when they are not what the schema says.
        """
        columns = self.schema.tables[place.table]
        numeric_RC = self._array(place, "numeric.npy", len(columns.numeric), "f")
        categorical_RC = self._array(place, "categorical.npy", len(columns.categorical), "i")
        return numeric_RC.astype(np.float32, copy=False), categorical_RC.astype(np.int32, copy=False)

    def read_row(self, place: ChunkPlace, row: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Numeric [Cn] and categorical cells [Cc] of one row, without reading the others."""
        columns = self.schema.tables[place.table]
        numeric = self._row(place, "numeric.npy", len(columns.numeric), row)
        categorical = self._row(place, "categorical.npy", len(columns.categorical), row)
        return np.frombuffer(numeric, np.float32).copy(), np.frombuffer(categorical, np.int32).copy()

    def where(self, place: ChunkPlace) -> str:
        """Shard and key, for messages."""
        return self._shards[place.shard].index.where(place.sample)

    def _samples(self, shard: int) -> range:
        return range(len(self._shards[shard].index))

    def _place(self, shard: int, sample: int) -> ChunkPlace:
        place = ChunkPlace("", 0, shard, sample)
        try:
            about = json.loads(self._member(place, "json"))
            place = ChunkPlace(str(about["table"]), int(about["rows"]), shard, sample)
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{self.where(place)}: its JSON does not say table and rows: {error}") from None
        if place.table not in self.schema.tables:
            known = ", ".join(self.schema.tables)
            raise DataError(
                f"{self.where(place)}: of table '{place.table}', {self._schema_path} describes {known}. "
                "Set schema_file to the schema that these shards were packed with."
            )
        return place

    def _array(self, place: ChunkPlace, member: str, width: int, kind: str) -> NDArray[np.generic]:
        try:
            array: NDArray[np.generic] = self._read_array(self._member(place, member))
        except ValueError as error:
            raise SampleError(f"{self.where(place)}: {member} cannot be read: {error}") from None
        if array.shape != (place.rows, width) or array.dtype.kind != kind:
            raise SampleError(
                f"{self.where(place)}: {member} is {array.dtype} {list(array.shape)}, {self._schema_path} says "
                f"[{place.rows}, {width}]. They do not belong together; pack the tables again."
            )
        return array

    def _row(self, place: ChunkPlace, member: str, width: int, row: int) -> bytes:
        offset, size = self._span(place, member)
        cells = _CELL_BYTES * width
        # An .npy member is a header and then the rows, so they are found from the member's end.
        header = size - place.rows * cells
        if not 0 < header <= _MAX_HEADER_BYTES:
            raise SampleError(
                f"{self.where(place)}: {member} has {size} bytes, not those of [{place.rows}, {width}] as "
                f"{self._schema_path} says. They do not belong together; pack the tables again."
            )
        return self._shards[place.shard].read(offset + header + row * cells, cells)

    def _member(self, place: ChunkPlace, member: str) -> bytes:
        return self._shards[place.shard].read(*self._span(place, member))

    def _span(self, place: ChunkPlace, member: str) -> tuple[int, int]:
        """First byte and size of a member."""
        index = self._shards[place.shard].index
        column = index.members.index(member)
        offset = int(index.offsets[place.sample, column])
        if offset < 0:
            raise SampleError(f"{self.where(place)}: has no member {member}.")
        return offset, int(index.sizes[place.sample, column])
