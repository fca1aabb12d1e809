"""`Entry`: one text of a file; where a row keeps its text and label."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from configs.errors import DataError
from configs.options import nearest
from data.packing.text.readers.options import DocumentOptions

Label = str | int


@dataclass(frozen=True)
class Entry:
    """One text of a file."""

    text: str
    place: str = ""
    "Where in the file, such as a line; empty where the file is one text."
    label: Label | None = None
    group: str = ""
    "Entries of a group never fall on both sides of a split; empty: a group of its own."


Reader = Callable[[Path, DocumentOptions], Iterator[Entry]]
"Reads one file. Raises a DataError that names it and the line or row."

_ABSENT = object()


def entry_of(row: object, options: DocumentOptions, *, place: str, where: str) -> Entry:
    """The text and label of a row; `where` begins every message.

    Raises:
        DataError: when the row has no such key, or something else than a string (a label: or an integer) there.
    """
    text = _value(row, options.text_key, where)
    if not isinstance(text, str):
        raise DataError(f'{where}: "{options.text_key}" is {type(text).__name__}, expected a string')
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON can write half a surrogate pair; no tokenizer takes it
        raise DataError(f'{where}: "{options.text_key}" is not valid Unicode: {error}') from None
    label = None if options.label_key is None else _value(row, options.label_key, where)
    if label is not None and not isinstance(label, str | int):
        raise DataError(f'{where}: "{options.label_key}" is {type(label).__name__}, expected a string or an integer')
    return Entry(text, place, int(label) if isinstance(label, bool) else label)


def column_of(key: str, columns: Mapping[str, object] | list[str], where: str) -> str:
    """The top column that holds `key`.

    Raises:
        DataError: when there is none.
    """
    for name in (key, key.split(".")[0]):
        if name in columns:
            return name
    raise DataError(f"{where}: has no column '{key}'; {nearest(key, columns)}")


def _value(row: object, key: str, where: str) -> object:
    found = _find(row, key)
    if found is _ABSENT:
        keys = f", found {', '.join(map(str, row))}" if isinstance(row, Mapping) else ""
        raise DataError(f'{where}: expected a JSON object with the key "{key}"{keys}')
    return found


def _find(row: object, key: str) -> object:
    """The value at a key that is written with dots, or itself has some."""
    if not isinstance(row, Mapping):
        return _ABSENT
    if key in row:
        return row[key]
    first, dot, rest = key.partition(".")
    return _find(row.get(first), rest) if dot else _ABSENT
