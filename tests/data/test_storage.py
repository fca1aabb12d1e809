from __future__ import annotations

from pathlib import Path

import pytest

from data.sample import SampleError
from data.storage import DirectStorage, LocalFile, NoSuchFile, beside, is_url, open_file


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b.tar", "a/b.tar.index"),
        ("what?.tar", "what?.tar.index"),
        ("s3://bucket/b.tar", "s3://bucket/b.tar.index"),
        ("https://host/b.tar", "https://host/b.tar.index"),
        ("https://host/b.tar?token=1.2", "https://host/b.tar.index?token=1.2"),
    ],
)
def test_the_index_lies_beside_the_shard(name: str, expected: str) -> None:
    assert beside(name, ".index") == expected


@pytest.mark.parametrize(("name", "expected"), [("/a/b.tar", False), ("c:b.tar", False), ("memory://b.tar", True)])
def test_urls_are_told_from_paths(name: str, expected: bool) -> None:
    assert is_url(name) == expected
    assert isinstance(open_file(name), LocalFile) != expected


def test_local_ranges_are_read_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"0123456789")
    file = DirectStorage().open(str(path), 10, "")
    assert file.size() == 10
    assert file.read_many([(8, 2), (0, 3), (5, 0)]) == [b"89", b"012", b""]


def test_a_file_that_shrinks_or_is_missing_is_named_with_the_place(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"0123456789")
    file = LocalFile(str(path))
    assert file.read(2, 8) == b"23456789"
    path.write_bytes(b"0123")
    with pytest.raises(SampleError, match=r"a\.bin: ends early: 2 of 8 bytes at 2"):
        file.read(2, 8)
    path.unlink()
    file.close()
    with pytest.raises(SampleError, match=r"a\.bin: cannot read 8 bytes at 2"):
        file.read(2, 8)
    with pytest.raises(NoSuchFile):
        file.size()
