"""JSON files: records in lists, at any depth."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from configs.errors import DataError
from data.packing.readers.compressed import READ_ERRORS, open_bytes
from data.packing.readers.entry import Entry, entry_of
from data.packing.readers.options import DocumentOptions


def nested_json(path: Path, options: DocumentOptions) -> Iterator[Entry]:
    """A text for every record that `text_key` leads to, through mappings by name and through lists as they come.

    `verses.text` finds the texts of `[{"verses": [{"text": ...}, ...]}, ...]`. `label_key` is a key of the same record.
    """
    try:
        with open_bytes(path) as stream:
            document = json.load(stream)
    except (ValueError, *READ_ERRORS) as error:
        raise DataError(f"{path}: not a JSON file: {error}") from None
    *outer, key = options.text_key.split(".")
    of_record = options.model_copy(update={"text_key": key})
    for number, record in enumerate(_records(document, outer, str(path)), start=1):
        yield entry_of(record, of_record, place=str(number), where=f"{path}, record {number}")


def _records(value: object, keys: Sequence[str], where: str) -> Iterator[object]:
    if isinstance(value, list):
        for item in value:
            yield from _records(item, keys, where)
    elif not keys:
        yield value
    elif isinstance(value, Mapping) and keys[0] in value:
        yield from _records(value[keys[0]], keys[1:], where)
    else:
        found = f", found {', '.join(list(map(str, value))[:8])}" if isinstance(value, Mapping) else ""
        raise DataError(f"{where}: expected an object with the key '{keys[0]}' (text_key){found}")
