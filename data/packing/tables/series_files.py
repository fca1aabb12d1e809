"""Sets of time series as lists of places, and the series at a place: `.ts` files, and wide or long tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow
from numpy.typing import NDArray

from configs.errors import DataError
from configs.options import nearest
from data.packing.tables.columns import clean, to_float, to_text
from data.packing.tables.files import TableFile, open_table
from data.packing.tables.options import SeriesPackOptions
from data.packing.tables.records import Place
from data.packing.tables.ts_format import TsHeader, parse_series, read_header, series_places
from data.sample import SampleError

_MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?"]
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Series:
    """One series."""

    values: NDArray[np.float32]
    "[T, channels]; NaN is missing."
    label: str | None = None
    "Its class."
    target: float | None = None
    "The number to predict."


class SeriesFile(Protocol):
    """A file of series. Can be sent to a worker process."""

    path: Path
    classes: tuple[str, ...] | None

    def places(self) -> Iterator[tuple[str, Place]]:
        """Name and place of every series, in order."""

    def read(self, place: Place) -> Series:
        """The series at a place.

        Raises:
            SampleError: when it is damaged.
        """


class TsFile:
    """A `.ts` file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header: TsHeader = read_header(path)
        self.classes = self.header.classes

    def places(self) -> Iterator[tuple[str, Place]]:
        """Series are called by their number."""
        for number, (start, size) in enumerate(series_places(self.path, self.header)):
            yield str(number), Place(number, 1, start, size)

    def read(self, place: Place) -> Series:
        """See `SeriesFile`."""
        where = f"{self.path}, series {place.first_row}"
        try:
            with self.path.open("rb") as stream:
                stream.seek(place.start)
                line = stream.read(place.size).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise SampleError(f"{where}: cannot be read: {error}") from None
        values, label = parse_series(line, self.header, where)
        if not self.header.has_target:
            return Series(values, label)
        try:
            return Series(values, target=float(label or ""))
        except ValueError:
            raise SampleError(f"{where}: the target '{label}' is not a number") from None


class SeriesTable:
    """A table with a series in each row (wide) or a step in each row (long)."""

    def __init__(self, path: Path, options: SeriesPackOptions) -> None:
        self.path = path
        self._options = options
        self._file: TableFile = open_table(path, None, None)
        named = {"label_column": options.label_column, "id_column": options.id_column}
        for option, name in [*named.items(), *(("ignore", name) for name in options.ignore)]:
            if name is not None and name not in self._file.columns:
                raise DataError(f"{option}: {path} has no column '{name}'; {nearest(name, self._file.columns)}")
        if options.layout == "long" and options.id_column is None:
            raise DataError(f"{path}: a long file needs id_column, the column that names the series of a row.")
        left_out = {options.label_column, options.id_column, *options.ignore}
        self._values = [name for name in self._file.columns if name not in left_out]
        if not self._values:
            raise DataError(f"{path}: no columns of values are left of {', '.join(self._file.columns)}")
        self.classes = self._classes()

    def places(self) -> Iterator[tuple[str, Place]]:
        """See `SeriesFile`."""
        return self._runs() if self._options.layout == "long" else self._rows()

    def read(self, place: Place) -> Series:
        """See `SeriesFile`."""
        label = self._options.label_column
        rows = self._file.read(place, [*self._values, *([label] if label else [])])
        where = f"{self.path}, row {place.first_row}"
        values = np.stack(
            [to_float(clean(rows[name], _MISSING), f"{where}, column '{name}'") for name in self._values], axis=1
        ).astype(np.float32)
        if self._options.layout == "wide":
            known = np.flatnonzero(~np.isnan(values[0]))
            # Shorter series leave their last columns empty.
            values = values[0, : known[-1] + 1 if len(known) else 0, None]
        if not len(values):
            raise SampleError(f"{where}: a series without values")
        name = to_text(clean(rows[label].slice(0, 1), _MISSING))[0].as_py() if label else None
        if label and name is None:
            raise SampleError(f"{where}: no label in column '{label}'")
        return Series(values, name)

    def _rows(self) -> Iterator[tuple[str, Place]]:
        names = self._names() if self._options.id_column else None
        for number, place in enumerate(self._file.places(1)):
            yield (str(number) if names is None else next(names)), place

    def _runs(self) -> Iterator[tuple[str, Place]]:
        """Consecutive rows with the same name."""
        name, run, seen = "", None, set()
        for of_row, place in zip(self._names(), self._file.places(1), strict=True):
            if run is not None and of_row == name:
                run = run.to(place)
                continue
            if run is not None:
                yield name, run
            if of_row in seen:
                raise DataError(f"{self.path}: the rows of series '{of_row}' do not lie together. Sort the file by it.")
            seen.add(of_row)
            name, run = of_row, place
        if run is not None:
            yield name, run

    def _names(self) -> Iterator[str]:
        assert self._options.id_column is not None
        for column in self._column(self._options.id_column):
            for name in column.to_pylist():
                yield name or ""

    def _classes(self) -> tuple[str, ...] | None:
        label = self._options.label_column
        if label is None:
            return None
        found: set[str] = set()
        for column in self._column(label):
            found.update(column.unique().drop_null().to_pylist())
        return tuple(sorted(found))

    def _column(self, name: str) -> Iterator[pyarrow.Array]:
        for place in self._file.places(_ROWS_AT_ONCE):
            yield to_text(clean(self._file.read(place, [name])[name], _MISSING))


def open_series(paths: Sequence[Path], options: SeriesPackOptions) -> list[SeriesFile]:
    """Files of one problem.

    Raises:
        DataError: when they do not have the same classes.
    """
    files: list[SeriesFile] = [TsFile(path) if path.suffix == ".ts" else SeriesTable(path, options) for path in paths]
    for file in files[1:]:
        if file.classes != files[0].classes:
            raise DataError(
                f"{file.path}: classes {file.classes}, those of {files[0].path} are {files[0].classes}; "
                "files packed together need the same. Pack them apart."
            )
    return files
