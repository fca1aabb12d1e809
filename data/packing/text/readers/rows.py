"""Files of rows with keys: JSON lines, CSV, parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

from configs.errors import DataError
from data.packing.text.readers.compressed import READ_ERRORS, open_bytes, open_text
from data.packing.text.readers.entry import Entry, column_of, entry_of
from data.packing.text.readers.options import DocumentOptions

_ROWS_AT_ONCE = 256
_LONGEST_FIELD = 2**31 - 1


def jsonl(path: Path, options: DocumentOptions) -> Iterator[Entry]:
    """One JSON object per line."""
    number = 0
    try:
        with open_bytes(path) as stream:
            for number, line in enumerate(stream, start=1):
                where = f"{path}, line {number}"
                yield entry_of(_parsed(line, where, options), options, place=str(number), where=where)
    except READ_ERRORS as error:
        raise DataError(f"{path}: cannot be read after line {number}: {error}") from None


def _parsed(line: bytes, where: str, options: DocumentOptions) -> object:
    try:
        return json.loads(line.decode("utf-8-sig", errors=options.decode_errors))
    except ValueError as error:
        raise DataError(f'{where}: expected a JSON object with the key "{options.text_key}": {error}') from None


def comma_separated(path: Path, options: DocumentOptions) -> Iterator[Entry]:
    """Rows of fields between commas, the first names the columns (RFC 4180)."""
    return _separated(path, options, ",")


def tab_separated(path: Path, options: DocumentOptions) -> Iterator[Entry]:
    """Rows of fields between tabs, the first names the columns."""
    return _separated(path, options, "\t")


def _separated(path: Path, options: DocumentOptions, delimiter: str) -> Iterator[Entry]:
    # Python's limit of 128 KiB per field is a setting of the process; texts are longer.
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
    number = 0
    try:
        with open_text(path, errors=options.decode_errors, newline="") as stream:
            rows = csv.reader(stream, delimiter=delimiter, strict=True)
            columns = next(rows, [])
            for key in filter(None, (options.text_key, options.label_key)):
                if key not in columns:
                    column_of(key, columns, str(path))
            for number, fields in enumerate(rows, start=1):
                where = f"{path}, row {number} (line {rows.line_num})"
                if len(fields) != len(columns):
                    raise DataError(f"{where}: {len(fields)} fields, the first row names {len(columns)} columns")
                row = dict(zip(columns, fields, strict=True))
                yield entry_of(row, options, place=str(number), where=where)
    except (csv.Error, UnicodeDecodeError, *READ_ERRORS) as error:
        raise DataError(f"{path}: cannot be read after row {number}: {error}") from None


def parquet(path: Path, options: DocumentOptions) -> Iterator[Entry]:
    """The rows of a parquet file, a few hundred at a time; columns without text or label are not read."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    number = 0
    try:
        with ParquetFile(path) as file:
            keys = filter(None, (options.text_key, options.label_key))
            columns = {column_of(key, file.schema_arrow.names, str(path)) for key in keys}
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=sorted(columns)):
                for row in batch.to_pylist():
                    number += 1
                    yield entry_of(row, options, place=str(number), where=f"{path}, row {number}")
    except (pyarrow.ArrowException, UnicodeDecodeError, *READ_ERRORS) as error:
        raise DataError(f"{path}: cannot be read after row {number}: {error}") from None
