from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import DataError
from data.index import write_index
from data.text.options import PackedDocumentsOptions
from data.text.packed import PackedDocuments

ShardOf = Callable[..., Path]


def rows_of(*paths: Path, length: int) -> PackedDocuments:
    return PackedDocuments(PackedDocumentsOptions(shards=[str(path) for path in paths], length=length))


def numbered(lengths: list[int | None], start: int = 0) -> list[np.ndarray | None]:
    """Documents of these lengths; token t of the shard is start + t, so that any slip shows."""
    ends = start + np.cumsum([length or 0 for length in lengths])
    return [None if n is None else np.arange(end - n, end) for n, end in zip(lengths, ends, strict=True)]


def pieces_of(source: PackedDocuments) -> list[list[int]]:
    """Every segment of every row."""
    found = []
    for index in range(len(source)):
        tokens, segments = source[index]["tokens"], source[index]["segments"]
        assert tokens.shape == segments.shape == (source.row_size,)
        assert tokens.dtype == segments.dtype == np.int32
        num_tokens = int((segments >= 0).sum())
        # Documents one after the other, numbered from 0; then padding.
        assert np.array_equal(np.unique(segments[:num_tokens]), np.arange(segments.max() + 1))
        assert (np.diff(segments[:num_tokens]) >= 0).all()
        assert (segments[num_tokens:] == -1).all()
        assert (tokens[num_tokens:] == 0).all()
        found += [tokens[segments == segment].tolist() for segment in range(segments.max() + 1)]
    return found


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.none() | st.integers(0, 3) | st.integers(0, 40), min_size=1, max_size=20),
    length=st.integers(1, 20),
)
def test_every_token_is_in_one_row_and_only_long_documents_are_cut(
    token_shard: ShardOf, lengths: list[int | None], length: int
) -> None:
    documents = [*numbered(lengths), np.arange(1000, 1003)]
    size = length + 1
    expected = [
        document[first : first + size].tolist()
        for document in documents
        if document is not None
        for first in range(0, len(document), size)
    ]
    source = rows_of(token_shard(documents), length=length)
    assert sorted(pieces_of(source)) == sorted(expected)
    tokens = sum(map(len, expected))
    assert source.num_tokens == tokens
    assert source.padding == pytest.approx(1 - tokens / (len(source) * size))


def test_rows_are_full_but_for_what_cannot_be_filled(token_shard: ShardOf) -> None:
    source = rows_of(token_shard(numbered([3, 6, 2, 11, 5])), length=7)
    # 11 = 8 + 3. Then 6 and 2, 5 and 3, and 3 alone.
    assert [source[index]["segments"].max() + 1 for index in range(len(source))] == [1, 2, 2, 1]
    assert source.padding == 5 / 32


def test_rows_keep_to_their_shard(token_shard: ShardOf) -> None:
    first, second = token_shard(numbered([3, 3])), token_shard(numbered([2, 9], start=100))
    source = rows_of(first, second, length=7)
    assert len(source) == 3
    assert sorted(pieces_of(source)) == sorted(
        pieces_of(rows_of(first, length=7)) + pieces_of(rows_of(second, length=7))
    )


def test_a_shard_without_tokens_is_passed_over(token_shard: ShardOf) -> None:
    source = rows_of(token_shard([np.zeros(0)]), token_shard(numbered([4])), token_shard([np.zeros(0)]), length=7)
    assert pieces_of(source) == [[0, 1, 2, 3]]


def test_real_text_has_little_padding(packed: Path) -> None:
    shards = sorted(map(str, packed.glob("train-*.tar")))
    source = PackedDocuments(PackedDocumentsOptions(shards=shards, length=255))
    assert 0 < source.padding < 0.1
    rows_one_by_one = sum(-(-len(piece) // 256) for piece in pieces_of(source))
    assert len(source) < rows_one_by_one


def test_a_sent_copy_gives_the_same_rows(token_shard: ShardOf) -> None:
    source = rows_of(token_shard(numbered([3, 6, 2, 11, 5])), length=7)
    assert pieces_of(pickle.loads(pickle.dumps(source))) == pieces_of(source)


def test_the_fingerprint_follows_content_and_length_and_not_the_place(token_shard: ShardOf, tmp_path: Path) -> None:
    first, other = token_shard(numbered([5, 3])), token_shard(numbered([5, 4]))
    moved = tmp_path / "renamed.tar"
    moved.write_bytes(first.read_bytes())
    write_index(moved)
    fingerprint = rows_of(first, length=7).fingerprint
    assert rows_of(moved, length=7).fingerprint == fingerprint
    assert rows_of(other, length=7).fingerprint != fingerprint != rows_of(first, length=8).fingerprint
    assert 0 <= fingerprint < 2**63


def test_an_index_outside_is_refused(token_shard: ShardOf) -> None:
    source = rows_of(token_shard(numbered([5])), length=7)
    for index in (-1, 1):
        with pytest.raises(IndexError):
            source[index]


def test_shards_without_tokens_are_refused(token_shard: ShardOf) -> None:
    with pytest.raises(DataError, match="hold no tokens"):
        rows_of(token_shard([np.zeros(0)]), length=7)
    with pytest.raises(DataError, match="holds no token arrays"):
        rows_of(token_shard([np.ones(5)], "float32"), length=7)
