from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from configs.errors import DataError
from data.packing.text.documents import documents
from data.packing.text.readers.compressed import inner_suffix, open_bytes

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".dz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: zstandard.ZstdCompressor().compress(content),
}
CONTENT = b"".join(b'{"text": "line %d"}\n' % number for number in range(20_000))


@pytest.mark.parametrize("suffix", COMPRESS)
def test_content_is_that_before_compression(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"file{suffix}"
    for content in (b"", b"x", CONTENT):
        path.write_bytes(COMPRESS[suffix](content))
        with open_bytes(path) as stream:
            assert stream.read() == content


@pytest.mark.parametrize("suffix", COMPRESS)
def test_several_compressed_parts_in_one_file_are_all_read(tmp_path: Path, suffix: str) -> None:
    # As `cat a.zst b.zst` and parallel compressors write them.
    path = tmp_path / f"file{suffix}"
    path.write_bytes(COMPRESS[suffix](b"one") + COMPRESS[suffix](b"") + COMPRESS[suffix](CONTENT))
    with open_bytes(path) as stream:
        assert stream.read() == b"one" + CONTENT


@pytest.mark.parametrize("suffix", COMPRESS)
def test_json_lines_of_every_compression_are_documents(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"corpus.jsonl{suffix}"
    path.write_bytes(COMPRESS[suffix](CONTENT))
    assert [document.text for document in documents(str(path))] == [f"line {number}" for number in range(20_000)]


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("keep", [0.3, 0.999])
def test_a_truncated_file_is_named(tmp_path: Path, suffix: str, keep: float) -> None:
    path = tmp_path / f"corpus.jsonl{suffix}"
    content = COMPRESS[suffix](CONTENT)
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(DataError, match="cannot be read after line") as caught:
        list(documents(str(path)))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_file_that_is_not_compressed_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"corpus.jsonl{suffix}"
    path.write_bytes(CONTENT)
    with pytest.raises(DataError, match="cannot be read after line 0"):
        list(documents(str(path)))


def test_the_inner_suffix_is_that_before_compression() -> None:
    found = [
        inner_suffix(Path(name)) for name in ("a.txt", "a.TXT.gz", "a.dict.dz", "a.jsonl.zst", "a.gz", "a", "a.b.c")
    ]
    assert found == [".txt", ".txt", ".dict", ".jsonl", "", "", ".c"]
