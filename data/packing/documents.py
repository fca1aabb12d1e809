"""Where text comes from. A corpus is an iterator of named documents in a fixed order.

stdlib                        the Python standard library: the source of every module, and its docstrings
hf:NAME[:CONFIG][@SPLIT]      a data set of the Hugging Face hub, streamed (split train unless named)
a folder                      its files of the formats below, recursively, hidden ones left out
a folder by save_to_disk      a data set of the `datasets` library
FILE.txt .md .rst .py         one document; so is a file of any other suffix
FILE.jsonl .csv .tsv .parquet one document per row; the text is its column "text" (text_key)
FILE.json with format json    one document per record, wherever `text_key` leads through lists
NAME.dict                     a dictd dictionary beside its NAME.index: one document per entry
FILE.fasta .fa .fna .faa      one document per sequence
FILE.eml                      a mail without its headers

Files may be compressed (.gz .dz .bz2 .xz .zst). `DocumentOptions` say where texts and labels are, which
files of a folder to take, and what they are where suffixes do not tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from configs.errors import DataError
from data.packing.readers import hugging_face
from data.packing.readers.entry import Entry, Label, Reader
from data.packing.readers.formats import FORMATS, format_by_suffix
from data.packing.readers.options import DocumentOptions
from data.packing.readers.stdlib import standard_library

_HUB = "hf:"


@dataclass(frozen=True)
class Document:
    """One text. Documents of the same `group` never fall on both sides of a train/validation split."""

    name: str
    text: str
    group: str
    label: Label | None = None


def documents(corpus: str, options: DocumentOptions | None = None) -> Iterator[Document]:
    """The documents of `corpus` (see the module's list), in a fixed order; empty ones are left out.

    Files are read as they are reached, and a row at a time where the format allows it.

    Raises:
        DataError: when the corpus does not exist or cannot be read; it names the file, and the line or row.
    """
    options = options or DocumentOptions()
    for prefix, entries in _sources(corpus, options):
        for entry in entries:
            if entry.text.strip():
                yield _document(prefix, entry, options)


def _sources(corpus: str, options: DocumentOptions) -> Iterator[tuple[str, Iterator[Entry]]]:
    """What the names of documents begin with, and the texts: one pair for each file."""
    path = Path(corpus)
    if corpus == "stdlib":
        yield "", standard_library()
    elif corpus.startswith(_HUB):
        yield corpus, hugging_face.hub(corpus.removeprefix(_HUB), options)
    elif path.is_file():
        yield path.name, _reader(path, options)(path, options)
    elif not path.is_dir():
        raise DataError(
            f"{corpus}: no such corpus. Expected 'stdlib', a folder of text files, a .jsonl, .csv, .parquet, dictd or "
            "FASTA file (each may be compressed), a text file, or hf:NAME."
        )
    elif hugging_face.is_saved(path):
        yield path.name, hugging_face.saved(path, options)
    else:
        for file in _files(path, options):
            yield file.relative_to(path).as_posix(), _reader(file, options)(file, options)


def _files(root: Path, options: DocumentOptions) -> Iterator[Path]:
    suffixes = () if options.format == "auto" else FORMATS[options.format].suffixes
    if options.pattern is None and options.format != "auto" and not suffixes:
        raise DataError(f"{root}: files of format {options.format} have no suffix of their own; name them: --pattern")
    for path in sorted(root.rglob("*")):
        name = PurePosixPath(path.relative_to(root).as_posix())
        if any(part.startswith(".") for part in name.parts) or not path.is_file():
            continue
        if options.pattern is not None:
            is_wanted = name.match(options.pattern)
        else:
            known = format_by_suffix(path)
            is_wanted = known is not None and (options.format == "auto" or known is FORMATS[options.format])
        if is_wanted:
            yield path


def _reader(path: Path, options: DocumentOptions) -> Reader:
    if options.format != "auto":
        return FORMATS[options.format].reader
    return (format_by_suffix(path) or FORMATS["plain"]).reader


def _document(prefix: str, entry: Entry, options: DocumentOptions) -> Document:
    name = ":".join(filter(None, (prefix, entry.place)))
    group = ":".join(filter(None, (prefix, entry.group))) if entry.group else name
    label = entry.label
    if options.label_pattern is not None:
        found = re.search(options.label_pattern, f"/{name}")
        if found is None:
            raise DataError(f"{name}: label_pattern {options.label_pattern!r} matches nothing in '/{name}'")
        label = found[1] if found.re.groups else found[0]
    return Document(name, entry.text, group, label)
