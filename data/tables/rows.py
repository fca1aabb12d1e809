"""`TableRows`: the rows of one packed table, one by one, for models of rows.

    numeric      [Cn] float32   NaN is missing
    categorical  [Cc] int64     codes; -1 is missing
    label        []             of a categorical target its code (int64, -1 is missing), of others a float32

The target, where there is one, is left out of the other fields.
"""

from __future__ import annotations

import json
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from configs.errors import DataError
from configs.options import nearest
from data.sample import Sample, fingerprint_of
from data.storage import Storage
from data.tables.chunks import ChunkPlace, Chunks
from data.tables.options import TableRowsOptions
from data.tables.schema import Column

_VERSION = 1


class TableRows:
    """A `Source` of rows."""

    def __init__(self, options: TableRowsOptions, storage: Storage | None = None) -> None:
        self._chunks = Chunks(options.shards, options.schema_file, storage)
        self.table = self._table(options.table)
        "Its name."
        self.schema = self._chunks.schema.tables[self.table]
        name = options.target or self.schema.target
        self.target: Column | None = self.schema.column(name, f"table '{self.table}', target") if name else None
        "The column that is the label."

    @property
    def fingerprint(self) -> int:
        """A 63-bit hash of the table, the target, the schema and the shards."""
        content = json.dumps([_VERSION, self.table, self.target.name if self.target else None]).encode()
        return fingerprint_of(content + self._chunks.content)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        chunk = int(np.searchsorted(self._ends, index, side="right"))
        place = self._places[chunk]
        row = index - int(self._ends[chunk]) + place.rows
        numeric, categorical = self._chunks.read_row(place, row)
        if self.target is None:
            return {"numeric": numeric, "categorical": categorical.astype(np.int64)}
        if self.target.type == "categorical":
            column = self.schema.categorical.index(self.target)
            label: NDArray[np.generic] = np.array(categorical[column], dtype=np.int64)
            categorical = np.delete(categorical, column)
        else:
            column = self.schema.numeric.index(self.target)
            label, numeric = np.array(numeric[column], dtype=np.float32), np.delete(numeric, column)
        return {"numeric": numeric, "categorical": categorical.astype(np.int64), "label": label}

    @cached_property
    def _places(self) -> list[ChunkPlace]:
        return [place for place in self._chunks.places if place.table == self.table]

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """Rows up to the end of each chunk."""
        return np.cumsum([place.rows for place in self._places], dtype=np.int64)

    def _table(self, asked: str | None) -> str:
        tables = self._chunks.schema.tables
        if asked is None and len(tables) > 1:
            raise DataError(f"these shards hold several tables; choose one with the key 'table': {', '.join(tables)}")
        name = asked if asked is not None else next(iter(tables))
        if name not in tables:
            raise DataError(f"table: no table '{name}' in these shards; {nearest(name, tables)}")
        return name
