from __future__ import annotations

import gc
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from configs.errors import DataError
from data.shards import Shard, expand


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
