"""Tables -> chunks of rows: `polytrain pack table`.

Every sample is up to `rows_per_sample` rows of one table:

    numeric.npy      [R, Cn] float32, NaN is missing
    categorical.npy  [R, Cc] int32 codes, -1 is missing
    json             {"table": its name, "first_row": the number of the first row in it, "rows": R}

What the columns are stands in schema.json (`data.tables.schema`), made in a first look at all rows. That happens once,
when it is first needed, and goes along to worker processes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow
from pydantic import JsonValue

from configs.errors import DataError
from configs.options import nearest
from data.packing.record import Item, Member, Packer, Record
from data.packing.tables.encode import encode_rows
from data.packing.tables.files import SUFFIXES, TableFile, open_table
from data.packing.tables.options import TablePackOptions
from data.packing.tables.records import Place
from data.packing.tables.sides import SIDES, Window, is_validation, windows
from data.packing.tables.survey import survey
from data.tables.schema import SCHEMA_FILE, Schema, TableSchema


@dataclass(frozen=True)
class TableChunk:
    """Where the rows of one sample are."""

    table: str
    file: int
    "Which of the files of the table."
    window: Window


@dataclass(frozen=True)
class _Table:
    files: list[TableFile]
    places: list[list[Place]]
    "Of each file."
    first_rows: list[int]
    "Rows of the table before each file."
    schema: TableSchema


class TablePacker(Packer[TableChunk]):
    """A `Packer` of tables."""

    def __init__(self, options: TablePackOptions, location: Path) -> None:
        self.options = options
        self._location = Path(location)

    def items(self) -> Iterator[Item[TableChunk]]:
        """Chunks in the order of the files and rows; where a column decides the split, first train, then validation."""
        for name, table in self._tables.items():
            for number, file in enumerate(table.files):
                for window in self._windows(file, table.places[number]):
                    place, side = window.place, f":{window.side}" if window.side else ""
                    first = table.first_rows[number] + place.first_row
                    title = f"{name}{side}:{first}+{window.skip}" if side else f"{name}:{first}"
                    yield Item(title, title, TableChunk(name, number, window), window.side)

    def encode(self, item: Item[TableChunk]) -> Record:
        """Read the rows of one chunk."""
        chunk = item.content
        table, window = self._tables[chunk.table], chunk.window
        file = table.files[chunk.file]
        rows = file.read(window.place, self._needed(table.schema))
        first, where = table.first_rows[chunk.file] + window.place.first_row, f"{file.path} ({item.name})"
        if window.side is not None:
            of_side = is_validation(rows, self.options, where) == (window.side == "validation")
            chosen = np.flatnonzero(of_side)[window.skip : window.skip + window.take]
            first += int(chosen[0])
            rows = rows.take(pyarrow.array(chosen))
        numeric_RC, categorical_RC = encode_rows(rows, table.schema, self.options.missing, where)
        about: dict[str, JsonValue] = {"table": chunk.table, "first_row": first, "rows": rows.num_rows}
        members: dict[str, Member] = {"numeric.npy": numeric_RC, "categorical.npy": categorical_RC, "json": about}
        return Record(members, length=rows.num_rows)

    def files(self) -> Mapping[str, bytes]:
        """The schema."""
        return {SCHEMA_FILE: Schema(tables={name: table.schema for name, table in self._tables.items()}).to_bytes()}

    def facts(self) -> Mapping[str, JsonValue]:
        """Rows, columns and target of every table."""
        return {"tables": {name: _facts_of(table.schema) for name, table in self._tables.items()}}

    def __getstate__(self) -> dict[str, object]:
        # A worker process must not look at all rows again.
        return self.__dict__ | {"_tables": self._tables}

    @cached_property
    def _tables(self) -> dict[str, _Table]:
        found = self._open()
        self._require_known_columns({name for files in found.values() for name in files[0].columns})
        tables = {}
        for name, files in found.items():
            places = [list(file.places(self.options.rows_per_sample)) for file in files]
            files, places = _not_empty(files, places)
            if not files:
                raise DataError(f"{self._location}: table '{name}' has no rows.")
            schema = survey(list(zip(files, places, strict=True)), self._columns(name, files), self.options)
            sizes = [sum(place.num_rows for place in found) for found in places]
            tables[name] = _Table(files, places, [0, *itertools.accumulate(sizes)], schema)
        return tables

    def _open(self) -> dict[str, list[TableFile]]:
        """The files of every table."""
        if self._location.is_file() and self._location.name.endswith(SUFFIXES):
            return {_stem(self._location.name): [self._file(self._location)]}
        paths = sorted(path for path in self._location.rglob("*") if path.is_file() and path.name.endswith(SUFFIXES))
        if not paths:
            raise DataError(
                f"{self._location}: no tables found. Expected a file, or a folder of files, named {', '.join(SUFFIXES)}"
            )
        if self.options.one_table:
            return {self._location.resolve().name: [self._file(path) for path in paths]}
        tables: dict[str, list[TableFile]] = {}
        for path in paths:
            name = _stem(path.relative_to(self._location).as_posix())
            if name in tables:
                raise DataError(f"{path}: a second table called '{name}'. Rename a file, or set one_table.")
            tables[name] = [self._file(path)]
        return tables

    def _file(self, path: Path) -> TableFile:
        return open_table(path, self.options.delimiter, self.options.names)

    def _require_known_columns(self, known: set[str]) -> None:
        options = self.options
        asked = {
            "include": options.include or [],
            "exclude": options.exclude,
            "types": list(options.types),
            "target": [options.target] if options.target else [],
        }
        for option, names in asked.items():
            for name in names:
                if name not in known:
                    raise DataError(f"{option}: {self._location} has no column '{name}'; {nearest(name, known)}")

    def _columns(self, table: str, files: list[TableFile]) -> list[str]:
        """The columns of a table that are packed."""
        options, columns = self.options, files[0].columns
        for file in files[1:]:
            if file.columns != columns or file.types != files[0].types:
                raise DataError(f"{file.path}: its columns differ from those of {files[0].path}; not one table.")
        split = options.split_column or options.group_column
        if split and split not in columns:
            raise DataError(f"table '{table}': no column '{split}' to split by; {nearest(split, columns)}")
        kept = [
            name
            for name in columns
            if (options.include is None or name in options.include)
            and name not in options.exclude
            and name != options.split_column
        ]
        if not kept:
            raise DataError(f"table '{table}': include and exclude leave no column of {', '.join(columns)}")
        if options.target in columns and options.target not in kept:
            raise DataError(f"table '{table}': the target '{options.target}' is left out. Include it.")
        return kept

    def _needed(self, schema: TableSchema) -> list[str]:
        """The columns of the file that a chunk is made from."""
        split = self.options.split_column or self.options.group_column
        names = [column.source or column.name for column in schema.columns]
        return list(dict.fromkeys([*names, split] if split else names))

    def _windows(self, file: TableFile, places: list[Place]) -> Iterator[Window]:
        split = self.options.split_column or self.options.group_column
        if not split:
            yield from (Window(place) for place in places)
            return
        held_out = [
            int(is_validation(file.read(place, [split]), self.options, str(file.path)).sum()) for place in places
        ]
        counts = {
            "train": [place.num_rows - held for place, held in zip(places, held_out, strict=True)],
            "validation": held_out,
        }
        for side in SIDES:
            yield from windows(places, counts[side], side, self.options.rows_per_sample)


def _not_empty(files: list[TableFile], places: list[list[Place]]) -> tuple[list[TableFile], list[list[Place]]]:
    kept = [number for number, found in enumerate(places) if found]
    return [files[number] for number in kept], [places[number] for number in kept]


def _stem(name: str) -> str:
    return next(
        name.removesuffix(suffix) for suffix in sorted(SUFFIXES, key=len, reverse=True) if name.endswith(suffix)
    )


def _facts_of(schema: TableSchema) -> JsonValue:
    return {
        "rows": schema.rows,
        "numeric": [column.name for column in schema.numeric],
        "categorical": {column.name: column.num_categories for column in schema.categorical},
        "target": schema.target,
    }
