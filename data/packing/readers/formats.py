"""The table of formats. A new one is a reader and a line here, and its name in `options.Format`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data.packing.readers import files, nested, records, rows
from data.packing.readers.compressed import inner_suffix
from data.packing.readers.entry import Reader


@dataclass(frozen=True)
class FileFormat:
    """How files are read, and by which suffixes they are known."""

    reader: Reader
    suffixes: tuple[str, ...] = ()


FORMATS: Mapping[str, FileFormat] = {
    "plain": FileFormat(files.plain, (".txt", ".md", ".rst", ".py")),
    "mail": FileFormat(files.mail, (".eml",)),
    "tagged": FileFormat(files.tagged),
    "jsonl": FileFormat(rows.jsonl, (".jsonl",)),
    # By name only: most .json files in a folder of texts are something else.
    "json": FileFormat(nested.nested_json),
    "csv": FileFormat(rows.comma_separated, (".csv",)),
    "tsv": FileFormat(rows.tab_separated, (".tsv",)),
    "parquet": FileFormat(rows.parquet, (".parquet",)),
    "dictd": FileFormat(records.dictd, (".dict",)),
    "fasta": FileFormat(records.fasta, (".fasta", ".fa", ".fna", ".faa")),
}


def format_by_suffix(path: Path) -> FileFormat | None:
    """The format of a file by its suffix, that of a compression left out."""
    suffix = inner_suffix(path)
    return next((found for found in FORMATS.values() if suffix in found.suffixes), None)
