"""Files that are one text each."""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path

from configs.errors import DataError
from data.packing.text.readers.compressed import READ_ERRORS, open_bytes, open_text
from data.packing.text.readers.entry import Entry
from data.packing.text.readers.options import DocumentOptions


def plain(path: Path, options: DocumentOptions) -> Iterator[Entry]:
    """The text as it is."""
    yield Entry(_read(path, options))


def tagged(path: Path, options: DocumentOptions) -> Iterator[Entry]:
    """`word/tag word/tag ...` (the Brown corpus) -> the words, line by line."""
    lines = []
    for number, line in enumerate(_read(path, options).splitlines(), start=1):
        words = [token.rpartition("/") for token in line.split()]
        if bad := next((word for _, slash, word in words if not slash), None):
            raise DataError(f"{path}, line {number}: '{bad}' is not word/tag")
        lines.append(" ".join(word for word, _, _ in words))
    yield Entry("\n".join(lines))


def mail(path: Path, options: DocumentOptions) -> Iterator[Entry]:
    """The text of a mail (RFC 5322) without its headers, plain if it has that, else as it is (HTML).

    Mails in circulation name character sets that do not exist or do not fit: what cannot be decoded is replaced.
    """
    del options
    try:
        with open_bytes(path) as stream:
            message = message_from_bytes(stream.read())
    except READ_ERRORS as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    parts = [part for part in message.walk() if part.get_content_maintype() == "text"]
    plain_parts = [part for part in parts if part.get_content_subtype() == "plain"]
    yield Entry("\n".join(_content(part) for part in plain_parts or parts))


def _content(part: Message) -> str:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    try:
        return payload.decode(part.get_content_charset("latin-1"), errors="replace")
    except (LookupError, ValueError):  # no such character set
        return payload.decode("latin-1")


def _read(path: Path, options: DocumentOptions) -> str:
    try:
        with open_text(path, errors=options.decode_errors) as stream:
            return stream.read()
    except (UnicodeDecodeError, *READ_ERRORS) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from None
