from __future__ import annotations

import gc
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.errors import DataError
from data.batches import BatchPlan
from data.index import index_path, write_index
from data.loader import TrainLoader
from data.shards import Shard, expand, open_shards, read_together
from data.text.options import TokenWindowsOptions
from data.text.windows import TokenWindows


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Four empty files in the working folder: expand() does not look inside."""
    monkeypatch.chdir(tmp_path)
    found = [f"train-{number:06d}.tar" for number in (2, 0, 1)] + ["val.tar"]
    for name in found:
        Path(name).touch()
    return found


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["val.tar"], ["val.tar"]),
        (["train-*.tar"], ["train-000000.tar", "train-000001.tar", "train-000002.tar"]),
        (["train-00000[12].tar"], ["train-000001.tar", "train-000002.tar"]),
        (["train-{000001..000002}.tar"], ["train-000001.tar", "train-000002.tar"]),
        (["{val,train-*0}.tar"], ["val.tar", "train-000000.tar"]),
        (["val.tar", "train-{000002,000000}.tar"], ["val.tar", "train-000002.tar", "train-000000.tar"]),
        ([], []),
    ],
)
def test_patterns_expand_in_a_fixed_order(patterns: list[str], expected: list[str]) -> None:
    assert [str(path) for path in expand(patterns)] == expected


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        (["test-*.tar"], "test-*.tar"),
        (["train-{000000..000003}.tar"], "train-000003.tar"),
        (["val.tar", "vel.tar"], "vel.tar"),
        (["train-{000000..000002.tar"], "train-{000000..000002.tar"),
        (["."], "."),
    ],
)
def test_a_pattern_that_matches_nothing_is_named(pattern: list[str], named: str) -> None:
    with pytest.raises(DataError) as caught:
        expand(pattern)
    assert str(caught.value).startswith(f"{named}: ")


def test_any_range_is_read(token_shard: Callable[..., Path]) -> None:
    path = token_shard([np.arange(100)])
    shard, content = Shard(path), path.read_bytes()
    for offset, size in ((0, 10), (513, 700), (len(content) - 1, 1), (5, 0)):
        assert shard.read(offset, size) == content[offset : offset + size]


def test_a_shard_truncated_while_in_use_is_noticed(token_shard: Callable[..., Path]) -> None:
    path = token_shard([np.arange(100)])
    shard = Shard(path)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(DataError, match=r"ends early: 100 of 200 bytes at 500") as caught:
        shard.read(500, 200)
    assert str(path) in str(caught.value)


def test_a_shard_removed_before_its_first_read_is_named(token_shard: Callable[..., Path]) -> None:
    path = token_shard([np.arange(100)])
    shard = Shard(path)
    path.unlink()
    with pytest.raises(DataError, match="cannot read") as caught:
        shard.read(0, 1)
    assert str(path) in str(caught.value)


def test_a_closed_shard_opens_again(token_shard: Callable[..., Path]) -> None:
    shard = Shard(token_shard([np.arange(100)]))
    before = shard.read(0, 64)
    shard.close()
    shard.close()
    assert shard.read(0, 64) == before


def test_a_shard_in_use_can_be_sent_to_a_worker_process(token_shard: Callable[..., Path]) -> None:
    shard = Shard(token_shard([np.arange(100)]))
    before = shard.read(0, 64)
    copy = pickle.loads(pickle.dumps(shard))
    shard.close()
    assert copy.read(0, 64) == before
    assert copy.index.shard_sha256 == shard.index.shard_sha256


def test_an_unopenable_shard_fails_once(tmp_path: Path, unraisable: list[str]) -> None:
    # A destructor that fails too would print "Exception ignored in ..." below the message for the user.
    with pytest.raises(DataError):
        Shard(tmp_path / "gone.tar")
    gc.collect()
    assert unraisable == []


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("https://host/{a,b}.tar?key=1", ["https://host/a.tar?key=1", "https://host/b.tar?key=1"]),
        ("s3://bucket/t-{00..02}.tar", ["s3://bucket/t-00.tar", "s3://bucket/t-01.tar", "s3://bucket/t-02.tar"]),
        ("memory://x/t-*.tar", ["memory:///x/t-0.tar", "memory:///x/t-1.tar"]),
    ],
)
def test_urls_expand_too(pattern: str, expected: list[str], memory: Callable[[str, bytes], str]) -> None:
    for name in ("x/t-1.tar", "x/t-0.tar", "x/t-0.tar.index"):
        memory(name, b"")
    assert expand([pattern]) == expected


def test_file_urls_are_paths(names: list[str], tmp_path: Path) -> None:
    assert expand([f"file://{tmp_path}/train-*1.tar"]) == [f"{tmp_path}/train-000001.tar"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("pipe:curl https://host/a.tar", r"shell command.*polytrain index"),
        ("pipe:cat {a,b}.tar", r"shell command.*polytrain index"),
        ("a.tar.gz", r"compressed.*Decompress"),
        ("https://host/a-{0..3}.tgz", r"compressed.*Decompress"),
        ("https://host/*.tar", r"lists no files.*braces"),
        ("memory://nothing/*.tar", r"matches no shard"),
        ("gopher://host/*.tar", "gopher"),
    ],
)
def test_what_cannot_be_read_at_any_place_is_refused(pattern: str, expected: str) -> None:
    with pytest.raises(DataError, match=expected) as caught:
        expand([pattern])
    assert str(caught.value).startswith(f"{pattern}: ")


@pytest.fixture
def remote(token_shard: Callable[..., Path], memory: Callable[[str, bytes], str]) -> tuple[str, Path]:
    """The URL of a shard, and the same on a disk."""
    path = token_shard([np.arange(100), np.arange(50)])
    memory("x/tokens.tar.index", index_path(path).read_bytes())
    return memory("x/tokens.tar", path.read_bytes()), path


def test_a_remote_shard_is_what_it_is_on_a_disk(remote: tuple[str, Path]) -> None:
    url, path = remote
    far, near = Shard(url), Shard(path)
    assert (far.index.shard_path, near.index.shard_path) == (url, str(path))
    for field in ("shard_sha256", "shard_size", "members", "dtype"):
        assert getattr(far.index, field) == getattr(near.index, field)
    for field in ("offsets", "sizes", "ends", "key_ends", "keys"):
        assert np.array_equal(getattr(far.index, field), getattr(near.index, field))
    assert far.index.key(1) == "0001"
    far.index.verify_shard()
    ranges = [(600, 20), (0, 512), (3, 0)]
    assert far.read_many(ranges) == near.read_many(ranges) == [near.read(*one) for one in ranges]
    assert read_together([(far, 5, 9), (near, 6, 9), (far, 7, 9)]) == [near.read(at, 9) for at in (5, 6, 7)]


def test_a_remote_shard_in_a_worker_process_does_not_fetch_its_index_again(
    remote: tuple[str, Path], memory: Callable[[str, bytes], str]
) -> None:
    shard = Shard(remote[0])
    pickled = pickle.dumps(shard)
    memory("x/tokens.tar.index", b"gone")
    assert pickle.loads(pickled).read(0, 100) == remote[1].read_bytes()[:100]


def test_many_remote_shards_are_opened_in_their_order(
    token_shard: Callable[..., Path], memory: Callable[[str, bytes], str]
) -> None:
    for number in range(40):
        path = token_shard([np.arange(number + 1)])
        memory(f"many/{number:02d}.tar", path.read_bytes())
        memory(f"many/{number:02d}.tar.index", index_path(path).read_bytes())
    shards = open_shards(["memory://many/{00..39}.tar"])
    assert [shard.index.length for shard in shards] == list(range(1, 41))


def test_remote_shards_without_or_with_another_index_are_refused(
    remote: tuple[str, Path], memory: Callable[[str, bytes], str]
) -> None:
    url, path = remote
    with pytest.raises(DataError, match=r"memory://x/gone\.tar: no such shard"):
        Shard("memory://x/gone.tar")
    memory("x/alone.tar", b"1234")
    with pytest.raises(DataError, match=r"alone\.tar\.index: no such index\. Make it with: polytrain index"):
        Shard("memory://x/alone.tar")
    memory("x/tokens.tar", path.read_bytes() + b"more")
    with pytest.raises(DataError, match="truncated or replaced"):
        Shard(url)
    memory("x/tokens.tar", path.read_bytes())
    memory("x/tokens.tar.index", index_path(path).read_bytes()[:-1])
    with pytest.raises(DataError, match="damaged"):
        Shard(url)
    with pytest.raises(DataError, match="on a disk"):
        write_index(url)


@pytest.mark.parametrize("workers", [0, 2])
def test_training_batches_over_http_equal_those_from_a_disk(packed: Path, web: Any, workers: int) -> None:
    for path in packed.glob("train-*"):
        shutil.copy(path, web.folder)
    count = len(list(packed.glob("train-*.tar")))
    rows = []
    for shards in (web.url(f"train-{{000000..{count - 1:06d}}}.tar"), str(packed / "train-*.tar")):
        source = TokenWindows(TokenWindowsOptions(shards=shards, length=32))
        source[0]  # a connection is open when the workers are forked
        plan = BatchPlan(8, 4, 0, 1)
        loader = TrainLoader(source, seed=3, plan=plan, start=2, stop=5, workers=workers, prefetch=2)
        rows.append([(step.digest, [m["tokens"].tolist() for m in step.micro_batches]) for step in loader])
        loader.close()
    assert rows[0] == rows[1]
