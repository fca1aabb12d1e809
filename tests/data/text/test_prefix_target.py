from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset

from configs.errors import DataError
from data.index import write_index
from data.sample import RandomSource, Sample, SampleError
from data.text.options import PrefixTargetOptions, TokenPairsOptions
from data.text.prefix_target import PrefixTarget
from data.text.token_pairs import TokenPairs

ShardOf = Callable[..., Path]


def text_of(sample: Sample, name: str) -> list[int]:
    tokens, segments = sample[name + "s"].tolist(), sample[name + "_segments"].tolist()
    length = segments.count(0)
    assert segments == [0] * length + [-1] * (len(segments) - length)
    assert not any(tokens[length:])
    return tokens[:length]


def prefixes(path: Path, **options: Any) -> PrefixTarget:
    return PrefixTarget(PrefixTargetOptions(shards=[str(path)], **options))


@pytest.mark.parametrize(("input_length", "target_length"), [(4, 6), (6, 4), (1, 9), (9, 1), (30, 30)])
def test_every_document_is_cut_everywhere_and_both_sides_are_as_long_as_they_can_be(
    token_shard: ShardOf, input_length: int, target_length: int
) -> None:
    documents = [np.arange(100, 125), np.zeros(0), np.zeros(1), np.arange(500, 502)]
    source = prefixes(token_shard(documents), input_length=input_length, target_length=target_length)
    assert isinstance(source, RandomSource)
    assert len(source) == -(-24 // target_length) + 1
    generator, cuts = np.random.default_rng(0), []
    for index in range(len(source)):
        drawn = set()
        for _ in range(200):
            sample = source.draw(index, generator)
            inputs, targets = text_of(sample, "input"), text_of(sample, "target")
            start, cut = (100, targets[0]) if targets[0] < 500 else (500, 501)
            assert inputs == list(range(max(start, cut - input_length), cut))
            assert targets == list(range(cut, min(cut + target_length, 125 if start == 100 else 502)))
            assert (len(sample["inputs"]), len(sample["targets"])) == (input_length, target_length)
            drawn.add(cut)
        cuts += sorted(drawn)
    assert cuts == [*range(101, 125), 501]


def test_the_sample_of_an_index_is_always_the_same(token_shard: ShardOf) -> None:
    path = token_shard([np.arange(200)])
    one, two = (prefixes(path, input_length=20, target_length=20) for _ in range(2))
    assert [text_of(one[i], "input") for i in range(5)] == [text_of(two[i], "input") for i in range(5)]
    assert len({text_of(one[index], "target")[0] % 20 for index in range(5)}) > 1
    assert one.fingerprint == two.fingerprint != prefixes(path, input_length=21, target_length=19).fingerprint


def test_documents_too_short_to_cut_are_refused(token_shard: ShardOf) -> None:
    with pytest.raises(DataError, match="no document has two tokens"):
        prefixes(token_shard([np.zeros(1)]), input_length=2, target_length=2)


@pytest.fixture
def pair_shard(tmp_path: Path) -> Callable[..., str]:
    """Writes a shard of samples with the given members."""

    def write(*samples: dict[str, Any], name: str = "pairs.tar") -> str:
        path = tmp_path / name
        with webdataset.TarWriter(str(path)) as writer:
            for number, members in enumerate(samples):
                writer.write({"__key__": f"{number:04d}"} | members)
        write_index(path)
        return str(path)

    return write


def token_pairs(*shards: str, **options: Any) -> TokenPairs:
    return TokenPairs(TokenPairsOptions(shards=list(shards), **{"input_length": 4, "target_length": 2} | options))


def ids(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint16)


def test_pairs_are_read_and_padded(pair_shard: Callable[..., str]) -> None:
    first = pair_shard({"source.npy": ids(1, 2), "target.npy": ids(3), "json": {"name": "x"}})
    second = pair_shard(
        {"source.npy": ids(1, 2, 3, 4, 5), "target.npy": ids(6, 7, 8)},
        {"source.npy": ids(9), "target.npy": ids()},
        name="more.tar",
    )
    source = token_pairs(first, second)
    found = [(text_of(source[index], "input"), text_of(source[index], "target")) for index in range(len(source))]
    assert found == [([1, 2], [3]), ([1, 2, 3, 4], [6, 7]), ([9], [])]
    with pytest.raises(IndexError):
        source[3]
    with pytest.raises(
        SampleError, match=r"more\.tar, sample '0000', member source\.npy: 5 tokens, expected at most 4"
    ):
        token_pairs(first, second, longer="refuse")[1]
    assert source.fingerprint not in (token_pairs(first).fingerprint, token_pairs(second, first).fingerprint)


def test_a_sample_that_lacks_a_member_is_named(pair_shard: Callable[..., str]) -> None:
    both = {"source.npy": ids(1), "target.npy": ids(2)}
    with pytest.raises(DataError, match=r"1 sample\(s\) without a member target\.npy, the first '0001'"):
        token_pairs(pair_shard(both, {"source.npy": ids(1)}))
    with pytest.raises(DataError, match=r"1 sample\(s\) without a member source\.npy.*members npy"):
        token_pairs(pair_shard({"npy": ids(1)}, name="one.tar"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x93NUMPY\x01\x00\x76", "not a numpy array"),
        (b"", "not a numpy array"),
        (np.ones(3), "expected a one-dimensional array of integers"),
        (np.ones((2, 2), "int64"), "expected a one-dimensional array of integers"),
        (np.array([{}], dtype=object), "not a numpy array"),
    ],
    ids=["damaged", "empty", "floats", "matrix", "pickle"],
)
def test_a_damaged_member_is_named(pair_shard: Callable[..., str], content: Any, message: str) -> None:
    if isinstance(content, np.ndarray) and content.dtype == object:
        import io

        stream = io.BytesIO()
        np.save(stream, content, allow_pickle=True)
        content = stream.getvalue()
    source = token_pairs(pair_shard({"source.npy": content, "target.npy": ids(1)}))
    with pytest.raises(SampleError, match=f"sample '0000', member source.npy: {message}"):
        source[0]
