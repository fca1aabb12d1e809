"""Data sets of the Hugging Face hub (or of a folder it knows how to read), and those saved by `save_to_disk`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from configs.errors import DataError
from data.packing.text.readers.entry import Entry, column_of, entry_of
from data.packing.text.readers.options import DocumentOptions


def hub(name: str, options: DocumentOptions) -> Iterator[Entry]:
    """The rows of `NAME[:CONFIG][@SPLIT]`, streamed; the split is train unless named."""
    from datasets import load_dataset

    path, _, split = name.partition("@")
    path, _, config = path.partition(":")
    try:
        rows = load_dataset(path, config or None, split=split or "train", streaming=True)
    except Exception as error:  # the library raises anything
        raise DataError(f"hf:{name}: cannot be opened: {error}. Expected hf:NAME[:CONFIG][@SPLIT].") from None
    return _entries(rows, options, f"hf:{name}")


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote this folder."""
    return (folder / "dataset_dict.json").is_file() or all(
        (folder / name).is_file() for name in ("dataset_info.json", "state.json")
    )


def saved(folder: Path, options: DocumentOptions) -> Iterator[Entry]:
    """The rows of a data set that `save_to_disk` wrote.

    Raises:
        DataError: when it cannot be read, or has several splits: each is a folder of its own.
    """
    from datasets import DatasetDict, load_from_disk

    try:
        rows = load_from_disk(str(folder))
    except Exception as error:  # the library raises anything
        raise DataError(f"{folder}: cannot be read as a saved data set: {error}") from None
    if isinstance(rows, DatasetDict):
        raise DataError(f"{folder}: holds the splits {', '.join(rows)}. Name one, such as {folder / next(iter(rows))}")
    return _entries(rows, options, str(folder))


def _entries(rows: Any, options: DocumentOptions, where: str) -> Iterator[Entry]:
    from datasets import ClassLabel

    number = 0
    features = rows.features or {}
    if features:
        keys = filter(None, (options.text_key, options.label_key))
        rows = rows.select_columns(sorted({column_of(key, features, where) for key in keys}))
    names = features.get(options.label_key or "")
    try:
        for number, row in enumerate(rows, start=1):
            if isinstance(names, ClassLabel) and isinstance(row[options.label_key], int):
                label = row[options.label_key]
                row = row | {options.label_key: names.int2str(label) if label >= 0 else None}
            yield entry_of(row, options, place=str(number), where=f"{where}, row {number}")
    except DataError:
        raise
    except Exception as error:  # the library raises anything
        raise DataError(f"{where}: cannot be read after row {number}: {error}") from None
