"""Transcripts of recordings: beside each file, in LibriSpeech's lists, or in a table.

    sidecar                 NAME.txt beside NAME.flac
    librispeech             *.trans.txt in the folders; a line is the name of a file there, a space, the text
    FILE.csv|tsv|jsonl      a table with a column for the file and one for the text

Texts are looked up by the path in the folder, without its extension.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from configs.errors import DataError
from data.packing.audio.options import SUFFIXES, AudioPackOptions

_TABLES = (".csv", ".tsv", ".jsonl")


def read_transcripts(options: AudioPackOptions, root: Path) -> dict[str, str]:
    """The texts of all recordings that have one, by their path in `root` without extension. Sidecars are not read.

    Raises:
        DataError: when a table or list is missing, damaged, or names a file twice.
    """
    if options.transcripts is None or options.transcripts == "sidecar":
        return {}
    if options.transcripts == "librispeech":
        return _unique(_librispeech(root), root)
    path = Path(options.transcripts)
    if path.suffix not in _TABLES:
        raise DataError(
            f"transcripts '{path}': expected sidecar, librispeech, or a table whose name ends in {', '.join(_TABLES)}"
        )
    rows = _json_lines(path) if path.suffix == ".jsonl" else _delimited(path)
    return _unique(_columns(rows, options), path)


def key_of(file: str) -> str:
    """The path without the extension of a recording, if it has one."""
    path = PurePosixPath(file)
    return (path.with_suffix("") if path.suffix.lower() in SUFFIXES else path).as_posix()


def _unique(pairs: Iterable[tuple[str, str, str]], where: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for place, key, text in pairs:
        if key in texts:
            raise DataError(f"{place}: a second transcript of '{key}'; expected one for each recording")
        texts[key] = text
    if not texts:
        raise DataError(f"{where}: no transcripts found")
    return texts


def _librispeech(root: Path) -> Iterator[tuple[str, str, str]]:
    for path in sorted(root.rglob("*.trans.txt")):
        folder = path.parent.relative_to(root)
        for number, line in enumerate(_lines(path), start=1):
            name, _, text = line.strip().partition(" ")
            if name:
                yield f"{path}, line {number}", (folder / name).as_posix(), text.strip()


def _columns(rows: Iterator[tuple[str, object]], options: AudioPackOptions) -> Iterator[tuple[str, str, str]]:
    for place, row in rows:
        columns = row if isinstance(row, dict) else {}
        file, text = columns.get(options.file_column), columns.get(options.text_column)
        if not (isinstance(file, str) and isinstance(text, str) and file):
            found = ", ".join(map(str, columns)) or "none"
            raise DataError(
                f"{place}: expected texts in the columns '{options.file_column}' and '{options.text_column}'; "
                f"found: {found}. Set file_column and text_column."
            )
        yield place, key_of(file), text


def _delimited(path: Path) -> Iterator[tuple[str, object]]:
    """Rows of a .csv, or of a .tsv, in which quotes are ordinary characters."""
    lines = _lines(path)
    reader = (
        csv.DictReader(lines, strict=True)
        if path.suffix == ".csv"
        else csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    )
    try:
        for row in reader:
            yield f"{path}, line {reader.line_num}", row
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from None


def _json_lines(path: Path) -> Iterator[tuple[str, object]]:
    for number, line in enumerate(_lines(path), start=1):
        place = f"{path}, line {number}"
        try:
            yield place, json.loads(line)
        except ValueError as error:
            raise DataError(f"{place}: not JSON: {error}") from None


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            yield from stream
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from None
