from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import DataError
from data.index import index_path, open_index, write_index
from data.shards import Shard

Members = list[tuple[str, bytes]]

THEIRS: Members = [
    ("000.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256))),
    ("000.seg.png", b"\x89PNG segmentation"),
    ("000.txt", b"a caption"),
    ("cats/deep.er/001.png", b"\x89PNG" + bytes(2000)),
    ("cats/deep.er/001.txt", b""),
    ("cats/002.JPG", b"\xff\xd8 upper case"),
    ("./003.cls", b"7"),
]


@pytest.fixture
def tar_of(fresh: Callable[[str], Path]) -> Callable[[Members], Path]:
    """Writes a tar with Python's own module, as any other tool would."""

    def write(members: Members) -> Path:
        path = fresh("theirs.tar")
        with tarfile.open(path, "w") as tar:
            for name, content in members:
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        return path

    return write


def read_by_index(path: Path) -> list[dict[str, bytes]]:
    """Every sample through the index, in the shape that webdataset yields."""
    shard = Shard(path)
    index = shard.index
    return [
        {"__key__": index.key(sample)}
        | {
            member: shard.read(int(index.offsets[sample, column]), int(index.sizes[sample, column]))
            for column, member in enumerate(index.members)
            if index.offsets[sample, column] >= 0
        }
        for sample in range(len(index))
    ]


def without_place(samples: list[dict[str, bytes]]) -> list[dict[str, bytes]]:
    return [{k: v for k, v in sample.items() if k not in ("__url__", "__local_path__")} for sample in samples]


def assert_indexed_as_webdataset_reads(path: Path, read_plainly: Callable[[Path], list[dict[str, bytes]]]) -> None:
    write_index(path)
    assert read_by_index(path) == without_place(read_plainly(path))


def test_every_member_equals_what_webdataset_yields(
    tar_of: Callable[[Members], Path], read_plainly: Callable[[Path], list[dict[str, bytes]]]
) -> None:
    path = tar_of(THEIRS)
    assert_indexed_as_webdataset_reads(path, read_plainly)
    assert open_index(path).members == ("cls", "jpg", "png", "seg.png", "txt")


def test_a_shard_written_by_webdataset_is_indexed(
    fresh: Callable[[str], Path], read_plainly: Callable[[Path], list[dict[str, bytes]]]
) -> None:
    path = fresh("theirs.tar")
    with webdataset.TarWriter(str(path)) as writer:
        for number in range(5):
            writer.write({"__key__": f"split/a/{number}", "seg.png": bytes([number]) * 700, "txt": f"caption {number}"})
            writer.write({"__key__": f"split/b/{number}", "npy": np.arange(number), "cls": number})
    assert_indexed_as_webdataset_reads(path, read_plainly)
    assert open_index(path).key(9) == "split/b/4"


# Each is passed over, or named, in a way of its own by webdataset.
ODD_NAMES = ["README", "__meta__", "__meta__/a.txt", ".hidden", "dir/.hidden", "d.ir/README", "a..b", "UP.TXT", "x."]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_read_as_webdataset_reads_them(
    tar_of: Callable[[Members], Path], read_plainly: Callable[[Path], list[dict[str, bytes]]], name: str
) -> None:
    path = tar_of([("000.txt", b"before"), (name, b"odd"), ("001.txt", b"after")])
    assert_indexed_as_webdataset_reads(path, read_plainly)


def test_a_name_longer_than_a_tar_header_is_indexed(
    tar_of: Callable[[Members], Path], read_plainly: Callable[[Path], list[dict[str, bytes]]]
) -> None:
    path = tar_of([("folder/" * 40 + "caf\u00e9.txt", b"long"), ("next.txt", b"short")])
    assert_indexed_as_webdataset_reads(path, read_plainly)


def test_folders_and_links_are_not_samples(fresh: Callable[[str], Path]) -> None:
    path = fresh("theirs.tar")
    with tarfile.open(path, "w") as tar:
        for kind, name in ((tarfile.DIRTYPE, "folder.d"), (tarfile.SYMTYPE, "link.txt"), (tarfile.REGTYPE, "a.txt")):
            entry = tarfile.TarInfo(name)
            entry.type = kind
            tar.addfile(entry)
    write_index(path)
    assert [sample["__key__"] for sample in read_by_index(path)] == ["a"]


def test_packed_shards_are_read_by_plain_webdataset(
    packed: Path, read_plainly: Callable[[Path], list[dict[str, bytes]]]
) -> None:
    for path in sorted(packed.glob("*.tar")):
        assert read_by_index(path) == without_place(read_plainly(path))


def test_lengths_add_up_and_samples_without_array_count_none(token_shard: Callable[..., Path]) -> None:
    index = open_index(token_shard([np.zeros(3), None, np.zeros(0), np.zeros(5)]))
    assert index.ends.tolist() == [3, 3, 3, 8]
    assert (len(index), index.length, index.dtype) == (4, 8, "<u2")


def test_an_archive_without_samples_has_an_empty_index(tar_of: Callable[[Members], Path]) -> None:
    path = tar_of([])
    write_index(path)
    index = open_index(path)
    assert (len(index), index.length, index.members) == (0, 0, ())


def test_indexing_twice_writes_the_same_bytes(tar_of: Callable[[Members], Path]) -> None:
    path = tar_of(THEIRS)
    first = write_index(path).read_bytes()
    assert write_index(path).read_bytes() == first
    assert not list(path.parent.glob("*.partial"))


def refused(path: Path, call: Callable[[Path], object]) -> str:
    with pytest.raises(DataError) as caught:
        call(path)
    assert path.name in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="session")
def indexed(packed: Path) -> tuple[Path, bytes]:
    """A shard of the packed corpus and the bytes of its index."""
    shard = sorted(packed.glob("validation-*.tar"))[0]
    return shard, index_path(shard).read_bytes()


@settings(max_examples=80, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_of_an_index_is_noticed(
    indexed: tuple[Path, bytes], fresh: Callable[[str], Path], place: float, bit: int
) -> None:
    shard, content = indexed
    damaged = bytearray(content)
    damaged[int(place * len(content))] ^= 1 << bit
    copy = fresh(shard.name)
    copy.hardlink_to(shard)
    index_path(copy).write_bytes(damaged)
    assert "damaged" in refused(copy, open_index)


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_any_truncated_index_is_noticed(
    indexed: tuple[Path, bytes], fresh: Callable[[str], Path], share: float
) -> None:
    shard, content = indexed
    copy = fresh(shard.name)
    copy.hardlink_to(shard)
    index_path(copy).write_bytes(content[: int(share * len(content))])
    assert "damaged" in refused(copy, open_index)


def test_an_undamaged_copy_opens(indexed: tuple[Path, bytes], fresh: Callable[[str], Path]) -> None:
    # Shows that the copies above are refused for the damage only.
    shard, content = indexed
    copy = fresh(shard.name)
    copy.hardlink_to(shard)
    index_path(copy).write_bytes(content)
    open_index(copy).verify_shard()


def test_a_missing_index_says_how_to_make_it(tar_of: Callable[[Members], Path]) -> None:
    assert "polytrain index" in refused(tar_of(THEIRS), open_index)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    assert "no such shard" in refused(tmp_path / "gone.tar", open_index)
    refused(tmp_path / "gone.tar", write_index)


def test_a_shard_truncated_after_indexing_is_noticed(tar_of: Callable[[Members], Path]) -> None:
    path = tar_of(THEIRS)
    write_index(path)
    path.write_bytes(path.read_bytes()[:-1])
    assert "truncated" in refused(path, open_index)


def test_a_shard_changed_in_place_is_noticed_when_verified(tar_of: Callable[[Members], Path]) -> None:
    path = tar_of(THEIRS)
    write_index(path)
    path.write_bytes(path.read_bytes().replace(b"a caption", b"A caption"))
    assert "sha256" in refused(path, lambda shard: open_index(shard).verify_shard())


@pytest.mark.parametrize("kept_blocks", [0.5, 1.5, 2, 2.5, 4])
def test_a_truncated_archive_is_not_indexed(tar_of: Callable[[Members], Path], kept_blocks: float) -> None:
    # Two members of one header and one content block each: cut within and exactly between the blocks.
    path = tar_of([("000.txt", b"first"), ("001.txt", b"second")])
    path.write_bytes(path.read_bytes()[: int(kept_blocks * 512)])
    refused(path, write_index)
    assert not index_path(path).exists()


def test_a_damaged_header_in_the_middle_does_not_hide_the_rest(tar_of: Callable[[Members], Path]) -> None:
    path = tar_of([("000.txt", b"first"), ("001.txt", b"second"), ("002.txt", b"third")])
    content = bytearray(path.read_bytes())
    content[2 * 512] ^= 1
    path.write_bytes(content)
    refused(path, write_index)


@pytest.mark.parametrize("content", [b"", b"not a tar at all", bytes(range(256)) * 8])
def test_a_file_that_is_no_tar_is_refused(fresh: Callable[[str], Path], content: bytes) -> None:
    path = fresh("theirs.tar")
    path.write_bytes(content)
    assert "cannot be indexed" in refused(path, write_index)


def test_a_compressed_tar_is_refused(tar_of: Callable[[Members], Path]) -> None:
    path = tar_of(THEIRS)
    with tarfile.open(path.with_suffix(".gz"), "w:gz") as tar:
        tar.add(path)
    shutil.move(path.with_suffix(".gz"), path)
    assert "cannot be indexed" in refused(path, write_index)


def test_scattered_members_are_refused_with_their_key(tar_of: Callable[[Members], Path]) -> None:
    path = tar_of([("a.txt", b""), ("b.txt", b""), ("a.png", b"")])
    assert "sample 'a' are not adjacent" in refused(path, write_index)


@pytest.mark.parametrize("again", ["a.txt", "a.TXT"])
def test_two_members_of_the_same_name_are_refused(tar_of: Callable[[Members], Path], again: str) -> None:
    assert "two files" in refused(tar_of([("a.txt", b"1"), (again, b"2")]), write_index)


def test_an_array_that_is_none_is_refused(tar_of: Callable[[Members], Path]) -> None:
    assert "000.npy is not a numpy array" in refused(tar_of([("000.npy", b"text")]), write_index)


def test_arrays_of_different_types_have_no_common_one(tar_of: Callable[[Members], Path]) -> None:
    def npy(array: np.ndarray) -> bytes:
        stream = io.BytesIO()
        np.save(stream, array)
        return stream.getvalue()

    one, other = np.zeros(3, "uint16"), np.zeros(3, "int32")
    flat, deep = np.zeros(3, "uint16"), np.zeros((3, 2), "uint16")
    for first, second, expected in ((one, other, ""), (flat, deep, ""), (one, flat, "<u2")):
        path = tar_of([("0.npy", npy(first)), ("1.npy", npy(second))])
        write_index(path)
        assert open_index(path).dtype == expected


def test_sparse_files_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.bin").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"end")
    done = subprocess.run(["tar", "-S", "-cf", "s.tar", "a.bin"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0
    assert "'a.bin' is stored as a sparse file" in refused(tmp_path / "s.tar", write_index)
