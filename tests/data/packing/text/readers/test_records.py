from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from configs.errors import DataError
from data.packing.text.documents import Document, documents
from data.packing.text.readers.options import DocumentOptions

DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def read(path: Path, **options: Any) -> list[Document]:
    return list(documents(str(path), DocumentOptions(**options)))


def base64(number: int) -> str:
    return (base64(number // 64) if number >= 64 else "") + DIGITS[number % 64]


def write_dictionary(folder: Path, entries: dict[str, list[str]], suffix: str = ".dict.dz") -> Path:
    """Texts and their headwords, indexed by headword as dictfmt does."""
    content, lines = b"", []
    for text, headwords in entries.items():
        lines += [f"{word}\t{base64(len(content))}\t{base64(len(text.encode()))}" for word in headwords]
        content += text.encode()
    (folder / "words.index").write_text("\n".join(sorted(lines)) + "\n")
    path = folder / f"words{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith("z") else content)
    return path


ENTRIES = {
    "about this dictionary" * 5: ["00databaseinfo", "00-database-url"],
    "zebra: an animal\n" * 10: ["zebra", "Zebras"],
    "caf\u00e9: a place\n": ["caf\u00e9"],
    "set: a group\n": ["set"],
    "set: to place\n": ["set"],
}


@pytest.mark.parametrize("suffix", [".dict.dz", ".dict"])
def test_dictionary_entries_are_documents_once(tmp_path: Path, suffix: str) -> None:
    path = write_dictionary(tmp_path, ENTRIES, suffix)
    found = read(path)
    assert [document.text for document in found] == list(ENTRIES)[1:]
    words = ["1:Zebras", "2:caf\u00e9", "3:set", "4:set"]
    assert [document.name for document in found] == [f"words{suffix}:{word}" for word in words]
    assert found[2].group == found[3].group != found[1].group
    assert read(tmp_path) == found  # the index is not a text of its own


def test_a_dictionary_without_its_index_is_refused(tmp_path: Path) -> None:
    path = write_dictionary(tmp_path, ENTRIES)
    (tmp_path / "words.index").unlink()
    with pytest.raises(DataError, match=r"words\.index: the index of a dictionary cannot be read"):
        read(path)


@pytest.mark.parametrize("line", ["word", "word\tA", "word\tA\t!", "word\t-1\tB"])
def test_a_damaged_dictionary_index_is_named(tmp_path: Path, line: str) -> None:
    path = write_dictionary(tmp_path, ENTRIES)
    (tmp_path / "words.index").write_text(f"fine\tA\tB\n{line}\n")
    with pytest.raises(DataError, match=r"words\.index, line 2: expected headword, offset and size"):
        read(path)


def test_a_dictionary_shorter_than_its_index_says_is_named(tmp_path: Path) -> None:
    path = write_dictionary(tmp_path, ENTRIES, ".dict")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"words\.dict, entry 'set': lies at bytes \d+ to \d+ of \d+"):
        read(path)


def test_dictionary_entries_that_are_not_utf8_are_named_or_replaced(tmp_path: Path) -> None:
    path = write_dictionary(tmp_path, {"x" * 9: ["word"]}, ".dict")
    path.write_bytes(b"xx\x92xxxxxx")
    with pytest.raises(DataError, match="entry 'word': not UTF-8"):
        read(path)
    assert read(path, invalid_utf8="replace")[0].text == "xx\ufffdxxxxxx"


@pytest.mark.parametrize("name", ["dna.fasta", "dna.fa", "dna.fna.gz"])
def test_sequences_are_documents(tmp_path: Path, name: str) -> None:
    content = b";a comment\n>seq1 Homo sapiens\nACGT\nAC GT\r\n\n>seq2 empty\n>seq1 Mus musculus\nTTTT"
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    found = read(tmp_path / name, label_pattern=r"seq\d (\w+)")
    assert [(document.name, document.text, document.label) for document in found] == [
        (f"{name}:1:seq1 Homo sapiens", "ACGTACGT", "Homo"),
        (f"{name}:3:seq1 Mus musculus", "TTTT", "Mus"),
    ]


def test_a_file_that_is_no_fasta_is_named(tmp_path: Path) -> None:
    path = tmp_path / "dna.fa"
    path.write_text("\nACGT\n>late\n")
    with pytest.raises(DataError, match=r"dna\.fa, line 2: expected a line that begins with '>'"):
        read(path)
