"""The first passes over a table: what its columns are (pass one), then categories, means and deviations (pass two).

Both stream: memory is bounded by the different values of the categorical columns.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow
import pyarrow.compute as pc

from configs.errors import DataError
from data.packing.tables.columns import Floats, Look, clean, part_of, to_float, to_seconds, to_text
from data.packing.tables.files import TableFile
from data.packing.tables.options import ColumnType, TablePackOptions
from data.packing.tables.records import Place
from data.tables.schema import Column, TableSchema

_CELLS_AT_ONCE = 1 << 20
_MAX_DISTINCT = 2_000_000


def survey(
    files: Sequence[tuple[TableFile, list[Place]]], columns: list[str], options: TablePackOptions
) -> TableSchema:
    """The schema of a table whose rows lie in `files`, at these places.

    Raises:
        DataError: when a file is damaged, or a column cannot be what the options say.
    """
    types = _types(files, columns, options)
    collected = _statistics(files, types, options)
    described: list[Column] = []
    for name, kind in types.items():
        described += collected[name].describe(name, kind, options)
    names = [column.name for column in described]
    for column in described:
        if names.count(column.name) > 1:
            raise DataError(
                f"{files[0][0].path}: has a column '{column.name}', which datetime_parts adds. Exclude one."
            )
    rows = sum(place.num_rows for _, places in files for place in places)
    target = options.target if options.target in types else None
    return TableSchema(rows=rows, columns=described, target=target)


def _types(
    files: Sequence[tuple[TableFile, list[Place]]], columns: list[str], options: TablePackOptions
) -> dict[str, ColumnType]:
    said = files[0][0].types or {}
    types: dict[str, ColumnType] = {name: kind for name, kind in options.types.items() if name in columns}
    looks: dict[str, Look] = {}
    for name in columns:
        if name in types:
            continue
        known = _type_said(said[name], name, files[0][0]) if name in said else None
        if known is None or (known == "numeric" and options.categorical_ints):
            looks[name] = Look()
        else:
            types[name] = known
    if looks:
        for block in _blocks(files, list(looks)):
            for name, look in looks.items():
                look.see(clean(block[name], options.missing), options.categorical_ints)
    types |= {name: _type_seen(look, options.categorical_ints) for name, look in looks.items()}
    return {name: types[name] for name in columns}


def _type_said(kind: pyarrow.DataType, name: str, file: TableFile) -> ColumnType:
    """What a column of this arrow type is; text is what it says, whatever it looks like."""
    while pyarrow.types.is_dictionary(kind):
        kind = kind.value_type
    is_ = pyarrow.types
    if is_.is_boolean(kind) or is_.is_string(kind) or is_.is_large_string(kind) or is_.is_string_view(kind):
        return "categorical"
    if is_.is_integer(kind) or is_.is_floating(kind) or is_.is_decimal(kind) or is_.is_null(kind):
        return "numeric"
    if is_.is_timestamp(kind) or is_.is_date(kind):
        return "datetime"
    raise DataError(f"{file.path}: column '{name}' is of type {kind}, which is no cell of a table. Exclude it.")


def _type_seen(look: Look, categorical_ints: int) -> ColumnType:
    if look.is_empty:
        return "numeric"
    whole = look.num_whole()
    if whole is not None and whole <= categorical_ints:
        return "categorical"
    if look.is_number:
        return "numeric"
    return "datetime" if look.is_datetime else "categorical"


def _blocks(files: Sequence[tuple[TableFile, list[Place]]], columns: list[str]) -> Iterator[pyarrow.Table]:
    """The rows of a table, many at a time."""
    for file, places in files:
        at_once = max(1, _CELLS_AT_ONCE // (len(columns) * places[0].num_rows))
        for first in range(0, len(places), at_once):
            some = places[first : first + at_once]
            yield file.read(some[0].to(some[-1]), columns)


@dataclass
class _Moments:
    """Count, mean and sum of squares about the mean, merged block by block (Chan et al. 1983)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def see(self, values: Floats) -> None:
        values = values[~np.isnan(values)]
        if not len(values):
            return
        mean = float(values.mean())
        count = self.count + len(values)
        difference = mean - self.mean
        self.squares += float(((values - mean) ** 2).sum()) + difference**2 * self.count * len(values) / count
        self.mean += difference * len(values) / count
        self.count = count

    def described(self) -> dict[str, float | None]:
        if not self.count:
            return {"mean": None, "std": None}
        return {"mean": self.mean, "std": math.sqrt(self.squares / self.count)}


@dataclass
class _Collected:
    """What pass two finds out about one column."""

    missing: int = 0
    values: _Moments = field(default_factory=_Moments)
    parts: dict[str, _Moments] = field(default_factory=dict)
    earliest: float = math.inf
    counts: Counter[str] = field(default_factory=Counter)

    def see(self, cells: pyarrow.Array, kind: ColumnType, parts: Sequence[str], where: str) -> None:
        if kind == "categorical":
            self.missing += cells.null_count
            found = pc.value_counts(to_text(cells.drop_null()))
            self.counts.update(dict(zip(found.field(0).to_pylist(), found.field(1).to_pylist(), strict=True)))
            if len(self.counts) > _MAX_DISTINCT:
                raise DataError(f"{where}: more than {_MAX_DISTINCT} different values. Exclude this column.")
            return
        numbers = to_float(cells, where) if kind == "numeric" else to_seconds(cells, where)
        self.missing += int(np.isnan(numbers).sum())
        self.values.see(numbers)
        if kind == "datetime" and not np.isnan(numbers).all():
            self.earliest = min(self.earliest, float(np.nanmin(numbers)))
            for part in parts:
                self.parts.setdefault(part, _Moments()).see(part_of(numbers, part))

    def describe(self, name: str, kind: ColumnType, options: TablePackOptions) -> list[Column]:
        if kind == "categorical":
            ranked = sorted(self.counts, key=lambda category: (-self.counts[category], category))
            kept = ranked[: options.max_categories]
            other = len(ranked) > len(kept)
            return [Column(name=name, type=kind, missing=self.missing, categories=kept, other=other)]
        if kind == "numeric":
            return [Column.model_validate({"name": name, "type": kind, "missing": self.missing} | self._moments())]
        origin = self.earliest if self.values.count else 0.0
        described = self._moments()
        if described["mean"] is not None:
            described["mean"] -= origin
        whole = {"name": name, "type": kind, "missing": self.missing, "origin": origin} | described
        return [
            Column.model_validate(whole),
            *(
                Column.model_validate(
                    {"name": f"{name}.{part}", "type": "numeric", "missing": self.missing, "source": name, "part": part}
                    | self.parts.get(part, _Moments()).described()
                )
                for part in options.datetime_parts
            ),
        ]

    def _moments(self) -> dict[str, float | None]:
        return self.values.described()


def _statistics(
    files: Sequence[tuple[TableFile, list[Place]]], types: Mapping[str, ColumnType], options: TablePackOptions
) -> dict[str, _Collected]:
    collected = {name: _Collected() for name in types}
    for block in _blocks(files, list(types)):
        for name, kind in types.items():
            where = f"{files[0][0].path}, column '{name}'"
            collected[name].see(clean(block[name], options.missing), kind, options.datetime_parts, where)
    return collected
