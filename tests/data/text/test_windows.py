from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import webdataset
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from configs.errors import DataError
from data.index import write_index
from data.sample import Sample
from data.text.options import TokenWindowsOptions
from data.text.windows import TokenWindows


def windows(*paths: Path, length: int) -> TokenWindows:
    return TokenWindows(TokenWindowsOptions(shards=[str(path) for path in paths], length=length))


def obvious_windows(paths: list[Path], length: int) -> list[Sample]:
    """The definition, by plain webdataset: read everything, concatenate, cut."""
    found: list[Sample] = []
    for path in paths:
        samples = webdataset.WebDataset(str(path), shardshuffle=False).decode()
        documents = [sample["npy"] for sample in samples if "npy" in sample]
        tokens = np.concatenate([*documents, np.zeros(0, dtype=np.int32)])
        owners = np.repeat(np.arange(len(documents)), [len(document) for document in documents])
        for start in range(0, len(tokens) - length, length):
            cut = slice(start, start + length + 1)
            _, segments = np.unique(owners[cut], return_inverse=True)
            found.append({"tokens": tokens[cut], "segments": segments})
    return found


def assert_same(source: TokenWindows, expected: list[Sample]) -> None:
    assert len(source) == len(expected)
    for index, sample in enumerate(expected):
        found = source[index]
        assert found.keys() == sample.keys()
        assert all(np.array_equal(found[name], sample[name]) for name in sample)


def numbered(lengths: list[int | None]) -> list[np.ndarray | None]:
    """Documents of these lengths; token t of the shard is t, so that any slip shows."""
    ends = np.cumsum([length or 0 for length in lengths])
    return [None if n is None else np.arange(end - n, end) for n, end in zip(lengths, ends, strict=True)]


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.none() | st.integers(0, 3) | st.integers(0, 40), max_size=12),
    length=st.integers(1, 20),
    dtype=st.sampled_from(["uint16", "uint32", "int64", ">u2"]),
)
def test_windows_are_those_of_the_obvious_definition(
    token_shard: Callable[..., Path], lengths: list[int | None], length: int, dtype: str
) -> None:
    assume(sum(n or 0 for n in lengths) > length)
    path = token_shard(numbered(lengths), dtype)
    assert_same(windows(path, length=length), obvious_windows([path], length))


@pytest.mark.parametrize("length", [1, 7, 64])
def test_windows_of_a_packed_corpus_are_those_of_the_obvious_definition(packed: Path, length: int) -> None:
    paths = sorted(packed.glob("train-*.tar"))
    assert len(paths) > 1
    expected = obvious_windows(paths, length)
    source = windows(*paths, length=length)
    assert len(source) == len(expected)
    for index in np.linspace(0, len(source) - 1, 50, dtype=int).tolist():
        assert np.array_equal(source[index]["tokens"], expected[index]["tokens"])
        assert np.array_equal(source[index]["segments"], expected[index]["segments"])


def test_one_window_over_many_documents_counts_its_segments(token_shard: Callable[..., Path]) -> None:
    source = windows(token_shard(numbered([2, 1, 0, None, 3, 10])), length=7)
    assert source[0]["segments"].tolist() == [0, 0, 1, 2, 2, 2, 3, 3]
    assert source[0]["tokens"].tolist() == list(range(8))


def test_consecutive_windows_share_one_token(token_shard: Callable[..., Path]) -> None:
    # The last target of a window is the first input of the next: no token is skipped as a target.
    source = windows(token_shard(numbered([50])), length=8)
    for before, after in pairwise(source[index]["tokens"] for index in range(len(source))):
        assert before[-1] == after[0]


def test_windows_do_not_cross_shards(token_shard: Callable[..., Path]) -> None:
    first, second = token_shard([np.arange(10)]), token_shard([np.arange(100, 110)])
    source = windows(first, second, length=4)
    assert [source[index]["tokens"][0] for index in range(len(source))] == [0, 4, 100, 104]


def test_a_shard_too_short_for_a_window_is_passed_over(token_shard: Callable[..., Path]) -> None:
    shards = [token_shard(numbered([n])) for n in (3, 9, 1, 2, 9)]
    source = windows(*shards, length=8)
    assert_same(source, obvious_windows(shards, 8))
    assert len(source) == 2


def test_num_tokens_counts_inputs(token_shard: Callable[..., Path]) -> None:
    assert windows(token_shard(numbered([50])), length=8).num_tokens == 48


def test_fingerprint_follows_content_order_and_length(token_shard: Callable[..., Path]) -> None:
    first, second = token_shard(numbered([20])), token_shard(numbered([30]))
    found = {
        "first": windows(first, length=4).fingerprint,
        "second": windows(second, length=4).fingerprint,
        "both": windows(first, second, length=4).fingerprint,
        "both, other order": windows(second, first, length=4).fingerprint,
        "other length": windows(first, length=5).fingerprint,
    }
    assert len(set(found.values())) == len(found)
    assert all(0 <= value < 2**63 for value in found.values())


def test_a_copied_shard_has_the_same_fingerprint(token_shard: Callable[..., Path], tmp_path: Path) -> None:
    original = token_shard(numbered([20]))
    moved = tmp_path / "renamed.tar"
    moved.write_bytes(original.read_bytes())
    write_index(moved)
    assert windows(moved, length=4).fingerprint == windows(original, length=4).fingerprint


def test_too_little_text_for_one_window_is_refused(token_shard: Callable[..., Path]) -> None:
    path = token_shard(numbered([5]))
    with pytest.raises(DataError, match="5 tokens in 1 shard"):
        windows(path, length=5)


@pytest.mark.parametrize("array", [np.ones((6, 2), "uint16"), np.ones(20, "float32"), np.uint16(3)])
def test_arrays_that_are_not_token_lists_are_refused(token_shard: Callable[..., Path], array: np.ndarray) -> None:
    path = token_shard([array, array], array.dtype.str)
    with pytest.raises(DataError, match="holds no token arrays") as caught:
        windows(path, length=4)
    assert str(path) in str(caught.value)


def test_a_shard_without_arrays_is_refused(token_shard: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"holds no token arrays.*members json"):
        windows(token_shard([None, None]), length=4)
