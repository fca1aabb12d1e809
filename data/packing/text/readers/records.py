"""Dictionaries (dictd) and biological sequences (FASTA): a text per entry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from configs.errors import DataError
from data.packing.text.readers.compressed import READ_ERRORS, open_bytes, open_text
from data.packing.text.readers.entry import Entry
from data.packing.text.readers.options import DocumentOptions

_DIGITS = {
    character: value
    for value, character in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
}
_ABOUT = ("00-", "00database")


def dictd(path: Path, options: DocumentOptions) -> Iterator[Entry]:
    """A dictionary NAME.dict[.dz] with its NAME.index: an entry once for all its headwords, in the file's order.

    An index line is `headword TAB offset TAB size`, numbers in base 64 (dictfmt(1)). What the dictionary says
    of itself (headwords 00-... and 00database...) is left out. Entries of one headword form a group.
    """
    stem, mark, _ = path.name.lower().rpartition(".dict")
    if not mark:
        raise DataError(f"{path}: expected a dictionary called NAME.dict or NAME.dict.dz, beside its NAME.index")
    index = path.with_name(path.name[: len(stem)] + ".index")
    places = _dictd_index(index)
    try:
        with open_bytes(path) as stream:
            content = stream.read()
    except READ_ERRORS as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    for number, ((offset, size), headword) in enumerate(sorted(places.items()), start=1):
        where = f"{path}, entry '{headword}'"
        if offset + size > len(content):
            raise DataError(f"{where}: lies at bytes {offset} to {offset + size} of {len(content)}, says {index.name}")
        try:
            text = content[offset : offset + size].decode(errors=options.decode_errors)
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: not UTF-8: {error}; invalid_utf8=replace reads it") from None
        yield Entry(text, f"{number}:{headword}", group=headword)


def _dictd_index(path: Path) -> dict[tuple[int, int], str]:
    """(offset, size) of every entry, and its first headword."""
    places: dict[tuple[int, int], str] = {}
    number = 0
    try:
        with open_text(path, newline="\n") as stream:
            for line in stream:
                number += 1
                headword, offset, size = line.rstrip("\n").split("\t")[:3]
                if not headword.startswith(_ABOUT):
                    places.setdefault((_base64(offset), _base64(size)), headword)
    except (ValueError, KeyError) as error:
        raise DataError(f"{path}, line {number}: expected headword, offset and size between tabs: {error!r}") from None
    except READ_ERRORS as error:
        raise DataError(f"{path}: the index of a dictionary cannot be read: {error}") from None
    return places


def _base64(number: str) -> int:
    value = 0
    for digit in number:
        value = value * 64 + _DIGITS[digit]
    return value


def fasta(path: Path, options: DocumentOptions) -> Iterator[Entry]:
    """Records of a line `>description` and lines of a sequence; the text is the sequence alone."""
    number, description, lines = 0, "", list[str]()
    line_number = 0
    try:
        with open_text(path, errors=options.decode_errors) as stream:
            for line_number, line in enumerate(stream, start=1):
                if line.startswith(">"):
                    if number:
                        yield Entry("".join(lines), f"{number}:{description}")
                    number, description, lines = number + 1, line[1:].strip(), []
                elif number:
                    lines.append("".join(line.split()))
                elif line.strip() and not line.startswith(";"):
                    raise DataError(f"{path}, line {line_number}: expected a line that begins with '>'")
    except (UnicodeDecodeError, *READ_ERRORS) as error:
        raise DataError(f"{path}: cannot be read after line {line_number}: {error}") from None
    if number:
        yield Entry("".join(lines), f"{number}:{description}")
