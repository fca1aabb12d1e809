"""Where the records of delimited text begin: a csv has no random access, so a first pass notes byte offsets.

A line end inside quotes belongs to a cell (RFC 4180): a record ends at a line end before which the number of quotation
marks is even. Doubled quotation marks inside a quoted cell keep that count right. Empty lines are no records.
"""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from configs.errors import DataError

READ_ERRORS = (OSError, EOFError, zlib.error, zipfile.BadZipFile)
"What reading a damaged file raises, compressed or not."

_READ_BYTES = 1 << 22
_MAX_RECORD_BYTES = 1 << 28


@dataclass(frozen=True)
class Place:
    """Consecutive rows of one file. Bytes count from the start of the text, after decompression; 0 in parquet."""

    first_row: int
    num_rows: int
    start: int = 0
    size: int = 0

    def to(self, last: Place) -> Place:
        """From here to the end of `last`."""
        rows = last.first_row + last.num_rows - self.first_row
        return Place(self.first_row, rows, self.start, last.start + last.size - self.start)

    def after(self, rows: int, byte: int) -> Place:
        """What follows the first `rows` rows, which end before `byte`."""
        return Place(self.first_row + rows, self.num_rows - rows, byte, self.start + self.size - byte)


def open_text(path: Path) -> IO[bytes]:
    """The bytes of a plain, .gz or .zip file. Seekable: compressed ones go forward by reading, back by starting again.

    Raises:
        DataError: when it cannot be opened, or the zip does not hold exactly one file.
    """
    try:
        if path.suffix == ".gz":
            return cast(IO[bytes], gzip.open(path, "rb"))
        if path.suffix == ".zip":
            return _open_zip(path)
        return path.open("rb")
    except (*READ_ERRORS, RuntimeError) as error:  # RuntimeError: an encrypted zip, a compression zipfile lacks
        raise DataError(f"{path}: cannot be opened: {error}") from None


def first_record(path: Path, delimiter: str) -> tuple[list[str], int]:
    """The cells of the first record, and the byte after it.

    Raises:
        DataError: when the file is empty or not UTF-8.
    """
    with open_text(path) as stream:
        for place in places(stream, path, rows=1):
            stream.seek(place.start)
            try:
                text = stream.read(place.size).decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise DataError(f"{path}: the first line is not UTF-8: {error}. Convert the file.") from None
            return next(csv.reader(io.StringIO(text.strip("\r\n"), newline=""), delimiter=delimiter)), (
                place.start + place.size
            )
    raise DataError(f"{path}: empty; expected a line of column names and rows.")


def places(stream: IO[bytes], path: Path, rows: int, start: int = 0) -> Iterator[Place]:
    """Cut the records from byte `start` on into places of `rows` records each, the last one ragged.

    Raises:
        DataError: when the file is damaged, or ends within quotes.
    """
    first_row, first_byte, found = 0, start, 0
    for ends in _record_ends(stream, path, start):
        taken = 0
        while len(ends) - taken >= rows - found:
            taken += rows - found
            end = int(ends[taken - 1])
            yield Place(first_row, rows, first_byte, end - first_byte)
            first_row, first_byte, found = first_row + rows, end, 0
        found += len(ends) - taken
        if len(ends) > taken:
            last = int(ends[-1])
    if found:
        yield Place(first_row, found, first_byte, last - first_byte)


def _record_ends(stream: IO[bytes], path: Path, start: int) -> Iterator[NDArray[np.int64]]:
    """The bytes after the records, some at a time."""
    at, quotes, last_end = start, 0, start
    tail = b""
    try:
        stream.seek(start)
        while content := stream.read(_READ_BYTES):
            ends, quotes = _line_ends(content, quotes)
            # The two bytes before a line end tell whether the line is empty.
            ends += at
            at += len(content)
            if len(ends):
                lengths = np.diff(ends, prepend=last_end)
                yield ends[~_is_empty(tail + content, ends - (at - len(content) - len(tail)), lengths)]
                last_end = int(ends[-1])
            tail = content[-1:]
            if at - last_end > _MAX_RECORD_BYTES:
                raise DataError(f"{path}: no line ends within {at - last_end} bytes after byte {last_end}. {_QUOTES}")
    except READ_ERRORS as error:
        raise DataError(f"{path}: cannot be read after byte {at}: {error}") from None
    if quotes:
        raise DataError(f"{path}: ends within a quoted cell. {_QUOTES}")
    if at > last_end and not (at - last_end == 1 and tail == b"\r"):
        yield np.array([at], dtype=np.int64)


_QUOTES = 'A quotation mark (") is not closed: double those inside cells, or check whether this is delimited text.'


def _line_ends(content: bytes, quotes: int) -> tuple[NDArray[np.int64], int]:
    """The bytes after line ends outside quotes, and the parity of quotation marks at the end."""
    content_N = np.frombuffer(content, dtype=np.uint8)
    ends = np.flatnonzero(content_N == ord("\n"))
    marks = np.flatnonzero(content_N == ord('"'))
    if len(marks) or quotes:
        ends = ends[(np.searchsorted(marks, ends) + quotes) % 2 == 0]
    return ends.astype(np.int64) + 1, (quotes + len(marks)) % 2


def _is_empty(content: bytes, ends: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which lines are nothing but their line end; `ends` count within `content`."""
    before = np.frombuffer(content, dtype=np.uint8)[np.maximum(ends - 2, 0)]
    empty: NDArray[np.bool_] = (lengths == 1) | ((lengths == 2) & (before == ord("\r")))
    return empty


def _open_zip(path: Path) -> IO[bytes]:
    archive = zipfile.ZipFile(path)
    files = [entry for entry in archive.infolist() if not entry.is_dir()]
    # Archives made on a Mac carry a shadow of every file.
    files = [entry for entry in files if not entry.filename.startswith("__MACOSX/")]
    if len(files) != 1:
        names = ", ".join(entry.filename for entry in files[:5]) or "nothing"
        raise DataError(f"{path}: expected one file inside, found {names}. Unpack it and name the folder.")
    return archive.open(files[0])
