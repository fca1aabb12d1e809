"""The files that tables are in: delimited text and parquet, read by ranges of rows, never whole.

A file is asked once for its `places`, then for the rows of any of them. Reading in order is fast; going back is
possible everywhere, and costs reading again from the last point where the format allows it (the start of the file
in compressed text, of the row group in parquet).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import pyarrow
import pyarrow.csv
import pyarrow.parquet

from configs.errors import DataError
from data.packing.tables.records import READ_ERRORS, Place, first_record, open_text, places
from data.sample import SampleError

SUFFIXES = (".csv", ".csv.gz", ".csv.zip", ".tsv", ".tsv.gz", ".tsv.zip", ".parquet")

_BATCH_ROWS = 8192


class TableFile(Protocol):
    """One file of rows. Can be sent to a worker process at any time."""

    path: Path

    @property
    def columns(self) -> list[str]:
        """The names of the columns, in order."""

    @property
    def types(self) -> dict[str, pyarrow.DataType] | None:
        """What the file says the columns are; None for text."""

    def places(self, rows: int) -> Iterator[Place]:
        """Ranges of `rows` rows that make up the file, in order, the last one ragged.

        Raises:
            DataError: when the file is damaged.
        """

    def read(self, place: Place, columns: Sequence[str]) -> pyarrow.Table:
        """These columns of the rows of a place; text comes as text.

        Raises:
            SampleError: when they cannot be read.
        """


def open_table(path: Path, delimiter: str | None, names: list[str] | None) -> TableFile:
    """The file at `path`, by its suffix.

    Raises:
        DataError: when it cannot be opened, or has no or ambiguous columns.
    """
    file: TableFile = ParquetFile(path) if path.suffix == ".parquet" else TextFile(path, delimiter, names)
    if not file.columns:
        raise DataError(f"{path}: has no columns.")
    twice = sorted({name for name in file.columns if file.columns.count(name) > 1})
    if twice:
        raise DataError(f"{path}: two columns are called '{twice[0]}'. Rename one.")
    return Overlapping(file)


class Overlapping:
    """A file of which places may begin before the last one ended, as windows of one side of a split do.

    The rows read last are kept, so that this is not going back: in compressed text it would mean starting again.
    """

    def __init__(self, file: TableFile) -> None:
        self._file = file
        self._last: tuple[Place, list[str], Any] | None = None
        self.path, self.columns, self.types = file.path, file.columns, file.types

    def places(self, rows: int) -> Iterator[Place]:
        """See `TableFile`."""
        return self._file.places(rows)

    def read(self, place: Place, columns: Sequence[str]) -> pyarrow.Table:
        """See `TableFile`."""
        kept = self._kept(place, list(columns))
        if kept is None:
            table = self._file.read(place, columns)
        else:
            rest = place.after(kept.num_rows, self._end())
            table = pyarrow.concat_tables([kept, self._file.read(rest, columns)]) if rest.num_rows else kept
        self._last = (place, list(columns), table)
        return table

    def _kept(self, place: Place, columns: list[str]) -> Any:
        """The rows kept that `place` begins with; None where it does not begin inside the last place."""
        if self._last is None:
            return None
        last, read, table = self._last
        skipped = place.first_row - last.first_row
        is_inside = 0 < skipped < last.num_rows and place.num_rows >= last.num_rows - skipped
        return table.slice(skipped) if is_inside and read == columns else None

    def _end(self) -> int:
        assert self._last is not None
        return self._last[0].start + self._last[0].size

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_last": None}


class TextFile:
    """Delimited text in UTF-8, quoted as RFC 4180 says."""

    types = None

    def __init__(self, path: Path, delimiter: str | None, names: list[str] | None) -> None:
        self.path = path
        self._delimiter = delimiter or ("\t" if ".tsv" in path.suffixes else ",")
        cells, after = first_record(path, self._delimiter)
        if names is not None and len(names) != len(cells):
            raise DataError(f"{path}: {len(cells)} cells in the first line, {len(names)} names given.")
        self._start = after if names is None else 0
        # Tables written with row numbers leave their name empty.
        self.columns = names or [name.strip() or f"column_{number}" for number, name in enumerate(cells, 1)]
        self._stream: IO[bytes] | None = None

    def places(self, rows: int) -> Iterator[Place]:
        """See `TableFile`."""
        with open_text(self.path) as stream:
            yield from places(stream, self.path, rows, self._start)

    def read(self, place: Place, columns: Sequence[str]) -> pyarrow.Table:
        """See `TableFile`."""
        content = self._bytes(place)
        if place.start == 0:
            content = content.removeprefix(b"\xef\xbb\xbf")
        where = f"{self.path}, rows {place.first_row} to {place.first_row + place.num_rows - 1}"
        try:
            table = pyarrow.csv.read_csv(
                pyarrow.BufferReader(content),
                read_options=pyarrow.csv.ReadOptions(
                    column_names=self.columns, use_threads=False, block_size=len(content) + 1
                ),
                parse_options=pyarrow.csv.ParseOptions(delimiter=self._delimiter, newlines_in_values=True),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(self.columns, pyarrow.string()),
                    strings_can_be_null=False,
                    include_columns=list(columns),
                ),
            )
        except pyarrow.ArrowInvalid as error:
            raise SampleError(f"{where}: not the delimited text expected: {error}") from None
        if table.num_rows != place.num_rows:
            raise SampleError(
                f"{where}: {place.num_rows} lines hold {table.num_rows} rows: a cell that does not begin with a "
                'quotation mark (") contains one. Quote that cell and double the marks inside.'
            )
        return table

    def _bytes(self, place: Place) -> bytes:
        try:
            if self._stream is None:
                self._stream = open_text(self.path)
            self._stream.seek(place.start)
            content = self._stream.read(place.size)
        except READ_ERRORS as error:
            raise SampleError(f"{self.path}: cannot read {place.size} bytes at {place.start}: {error}") from None
        if len(content) != place.size:
            raise SampleError(
                f"{self.path}: ends early: {len(content)} of {place.size} bytes at {place.start}. "
                "It was changed while it was packed; pack it again."
            )
        return content

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_stream": None}


class ParquetFile:
    """A parquet file, read forward in batches: neither a row group nor the file is held whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader: _RowGroupReader | None = None
        try:
            opened = pyarrow.parquet.ParquetFile(path)
        except (OSError, pyarrow.ArrowInvalid) as error:
            raise DataError(f"{path}: cannot be read as parquet: {error}") from None
        schema = opened.schema_arrow
        self.columns = list(schema.names)
        self.types = {field.name: field.type for field in schema}
        sizes = [opened.metadata.row_group(group).num_rows for group in range(opened.num_row_groups)]
        # The first row of every group, and the number of rows.
        self._firsts = [0, *itertools.accumulate(sizes)]
        opened.close()

    def places(self, rows: int) -> Iterator[Place]:
        """See `TableFile`."""
        total = self._firsts[-1]
        for first in range(0, total, rows):
            yield Place(first, min(rows, total - first))

    def read(self, place: Place, columns: Sequence[str]) -> pyarrow.Table:
        """See `TableFile`."""
        reader = self._reader
        if reader is None or reader.columns != list(columns) or not reader.reaches(place.first_row):
            reader = self._reader = _RowGroupReader(self.path, self._firsts, place.first_row, list(columns))
        try:
            return reader.read(place)
        except (OSError, pyarrow.ArrowInvalid, StopIteration) as error:
            self._reader = None
            raise SampleError(
                f"{self.path}, rows {place.first_row} to {place.first_row + place.num_rows - 1}: {error}"
            ) from None

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_reader": None}


class _RowGroupReader:
    """Reads rows forward from the start of the group that holds `first_row`."""

    def __init__(self, path: Path, firsts: list[int], first_row: int, columns: list[str]) -> None:
        self.columns = columns
        group = max(number for number, first in enumerate(firsts[:-1]) if first <= first_row)
        self._firsts = firsts
        self._at = firsts[group]
        self._file = pyarrow.parquet.ParquetFile(path)
        groups = list(range(group, len(firsts) - 1))
        self._batches: Iterator[Any] = self._file.iter_batches(
            _BATCH_ROWS, row_groups=groups, columns=columns, use_threads=False
        )
        self._rest: Any = None

    def reaches(self, row: int) -> bool:
        """Whether going forward to `row` is no longer than starting at its group."""
        return row >= self._at and not any(self._at < first <= row for first in self._firsts[:-1])

    def read(self, place: Place) -> pyarrow.Table:
        """The rows of a place that does not lie behind."""
        self._take(place.first_row - self._at)
        return pyarrow.Table.from_batches(self._take(place.num_rows))

    def _take(self, rows: int) -> list[Any]:
        taken = []
        while rows > 0:
            if self._rest is None or not self._rest.num_rows:
                self._rest = next(self._batches)
            batch = self._rest.slice(0, rows)
            self._rest = self._rest.slice(batch.num_rows)
            self._at += batch.num_rows
            rows -= batch.num_rows
            taken.append(batch)
        return taken
