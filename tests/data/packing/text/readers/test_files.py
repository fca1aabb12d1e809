from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from configs.errors import DataError
from data.packing.text.documents import Document, documents
from data.packing.text.readers.options import DocumentOptions


def read(path: Path, **options: Any) -> list[Document]:
    return list(documents(str(path), DocumentOptions(**options)))


def test_tagged_text_loses_its_tags_and_keeps_its_lines(tmp_path: Path) -> None:
    (tmp_path / "ca01").write_text("\n\tThe/at Fulton/np-tl 1/2/cd\n\n./.\n")
    found = read(tmp_path, format="tagged", pattern="c[a-r][0-9][0-9]", label_pattern=r"/c(.)\d\d$")
    assert found == [Document("ca01", "\nThe Fulton 1/2\n\n.", "ca01", "a")]


def test_text_without_tags_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca01").write_text("The/at\nFulton\n")
    with pytest.raises(DataError, match="ca01, line 2: 'Fulton' is not word/tag"):
        read(tmp_path / "ca01", format="tagged")


def mail(**parts: str) -> bytes:
    message = EmailMessage()
    message["Subject"] = "the subject leaks the label"
    for subtype, text in parts.items():
        if message.is_multipart() or message.get_content_type() != "text/plain" or message.get_payload():
            message.add_alternative(text, subtype=subtype)
        else:
            message.set_content(text, subtype=subtype)
    return message.as_bytes()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (mail(plain="hello caf\u00e9\n"), "hello caf\u00e9\n"),
        (mail(plain="hello\n", html="<p>hello</p>\n"), "hello\n"),
        (mail(html="<p>hello</p>\n"), "<p>hello</p>\n"),
        (b"Subject: x\nContent-Type: text/plain; charset=no-such\n\ncaf\xe9", "caf\u00e9"),
        (b"Subject: x\n\ncaf\xe9", "caf\u00e9"),
        (b'Content-Type: text/plain; charset="utf-8"\n\ncaf\xe9', "caf\ufffd"),
        (b"From x\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\naGVsbG8=", "hello"),
    ],
)
def test_mails_are_their_texts_without_headers(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "1.eml").write_bytes(content)
    assert [document.text for document in read(tmp_path)] == [expected]
