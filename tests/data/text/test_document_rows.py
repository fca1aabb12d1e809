from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.errors import DataError
from data.text.documents import DocumentRows
from data.text.options import DocumentRowsOptions

ShardOf = Callable[..., Path]


@pytest.fixture(scope="module")
def shards(token_shard: ShardOf) -> list[str]:
    """Documents of 2, 5, no, 0 tokens; then of 9 and 4. Token t of each is 10 t + its length."""
    documents = [None if n is None else 10 * np.arange(n) + n for n in (2, 5, None, 0, 9, 4)]
    return [str(token_shard(documents[:4])), str(token_shard(documents[4:]))]


def rows(shards: list[str], **options: Any) -> DocumentRows:
    return DocumentRows(DocumentRowsOptions(shards=shards, **options))


def texts(source: DocumentRows) -> list[list[int]]:
    found = []
    for index in range(len(source)):
        tokens, segments = source[index]["tokens"], source[index]["segments"]
        length = int((segments == 0).sum())
        assert segments.tolist() == [0] * length + [-1] * (len(segments) - length)
        assert not tokens[length:].any()
        found.append(tokens[:length].tolist())
    return found


def test_long_documents_are_cut(shards: list[str]) -> None:
    assert texts(rows(shards, length=3)) == [[2, 12], [5, 15, 25, 35], [9, 19, 29, 39], [4, 14, 24, 34]]


def test_long_documents_are_split(shards: list[str]) -> None:
    assert texts(rows(shards, length=3, longer="split")) == [
        [2, 12],
        [5, 15, 25, 35],
        [45],
        [9, 19, 29, 39],
        [49, 59, 69, 79],
        [89],
        [4, 14, 24, 34],
    ]


def test_long_documents_are_refused(shards: list[str]) -> None:
    assert len(rows(shards, length=8, longer="refuse")) == 4
    with pytest.raises(DataError, match=r"document '0000' has 9 tokens, a row 8 .*; 1 document") as caught:
        rows(shards, length=7, longer="refuse")
    assert shards[1] in str(caught.value)


def test_the_fingerprint_follows_the_options(shards: list[str]) -> None:
    found = [rows(shards, length=3, longer=longer).fingerprint for longer in ("cut", "split")]
    assert len({*found, rows(shards, length=4).fingerprint, rows(shards[:1], length=3).fingerprint}) == 4


def test_an_index_outside_is_refused(shards: list[str]) -> None:
    for index in (-1, 4):
        with pytest.raises(IndexError):
            rows(shards, length=3)[index]


def test_shards_without_tokens_are_refused(token_shard: ShardOf) -> None:
    with pytest.raises(DataError, match="hold no tokens"):
        rows([str(token_shard([np.zeros(0)]))], length=3)
