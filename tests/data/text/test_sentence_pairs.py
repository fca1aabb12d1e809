from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.errors import DataError
from data.sample import RandomSource, Sample
from data.text.options import SentencePairsOptions
from data.text.sentence_pairs import SentencePairs

ShardOf = Callable[..., Path]
CLS, SEP, END, LENGTH = 7, 8, 9, 16
# Token t of document d is 100 d + t; the last is the end of text. Documents 0, 1 and 4 make no pair or one.
LENGTHS = [0, 1, 30, 14, 3, 27]


@pytest.fixture(scope="module")
def shards(token_shard: ShardOf) -> list[str]:
    documents = [np.append(100 * d + np.arange(n), END) for d, n in enumerate(LENGTHS, start=1)]
    return [str(token_shard(documents[:3])), str(token_shard([None, *documents[3:]]))]


def pairs(shards: list[str], **options: Any) -> SentencePairs:
    return SentencePairs(SentencePairsOptions(shards=shards, length=LENGTH, cls=CLS, sep=SEP, **options))


def spans(sample: Sample) -> tuple[list[int], list[int]]:
    """A and B, once everything around them was checked."""
    tokens = sample["tokens"].tolist()
    row = tokens[: int((sample["segments"] == 0).sum())]
    assert all(array.shape == (LENGTH,) for array in (sample["tokens"], sample["types"], sample["segments"]))
    assert tokens == row + [0] * (LENGTH - len(row))
    assert sample["segments"].tolist() == [0] * len(row) + [-1] * (LENGTH - len(row))
    assert (row[0], row[-1], row.count(SEP), END in row) == (CLS, SEP, 2, False)
    cut = row.index(SEP)
    assert sample["types"].tolist() == [0] * (cut + 1) + [1] * (len(row) - cut - 1) + [0] * (LENGTH - len(row))
    return row[1:cut], row[cut + 1 : -1]


def draws(source: SentencePairs, times: int) -> list[tuple[int, list[int], list[int]]]:
    generator = np.random.default_rng(0)
    samples = [source.draw(index, generator) for _ in range(times) for index in range(len(source))]
    return [(int(sample["label"]), *spans(sample)) for sample in samples]


def is_run(span: list[int]) -> bool:
    return span == list(range(span[0], span[0] + len(span)))


def test_half_of_the_pairs_are_true_continuations(shards: list[str]) -> None:
    source = pairs(shards)
    found = draws(source, 100)
    assert all(is_run(first + second) for label, first, second in found if label == 0)
    assert 0.4 < np.mean([label for label, _, _ in found]) < 0.6


def test_random_negatives_come_from_another_document(shards: list[str]) -> None:
    negatives = [(first, second) for label, first, second in draws(pairs(shards), 100) if label]
    assert all(is_run(first) and is_run(second) for first, second in negatives)
    assert all(first[0] // 100 != second[0] // 100 for first, second in negatives)
    # Every document of two tokens or more takes part, on either side; long ones at any place.
    assert {first[0] // 100 for first, _ in negatives} == {second[0] // 100 for _, second in negatives} == {3, 4, 5, 6}
    assert {second[-1] for _, second in negatives} >= {329, 413, 502, 626}


def test_swapped_negatives_are_the_same_spans_in_the_other_order(shards: list[str]) -> None:
    negatives = [(first, second) for label, first, second in draws(pairs(shards, negatives="swapped"), 30) if label]
    assert negatives
    assert all(is_run(second + first) for first, second in negatives)


def test_cuts_are_anywhere_between_two_tokens(shards: list[str]) -> None:
    found = draws(pairs(shards, negatives="swapped"), 100)
    whole = [(first, second) for label, first, second in found if not label and first[0] == 300]
    assert {len(first) for first, _ in whole} == set(range(1, 13))


def test_the_pieces_of_all_documents_are_the_samples(shards: list[str]) -> None:
    # 13 tokens fit beside the special ones: 30 = 13 + 13 + 4, 14 = 13 + (1, left out), 3, 27 = 13 + 13 + (1).
    source = pairs(shards, negatives="swapped")
    assert len(source) == 3 + 1 + 1 + 2
    assert sorted({min(first + second) for _, first, second in draws(source, 1)}) == [300, 313, 326, 400, 500, 600, 613]


def test_the_sample_of_an_index_is_always_the_same(shards: list[str]) -> None:
    one, two = pairs(shards), pairs(shards)
    assert isinstance(one, RandomSource)
    for index in range(len(one)):
        assert all(np.array_equal(one[index][name], two[index][name]) for name in one[index])
    assert {int(one[index]["label"]) for index in range(len(one))} == {0, 1}


def test_the_fingerprint_follows_the_options(shards: list[str]) -> None:
    assert pairs(shards).fingerprint == pairs(shards).fingerprint != pairs(shards, negatives="swapped").fingerprint


def test_too_little_text_is_refused(token_shard: ShardOf) -> None:
    with pytest.raises(DataError, match="no document has two tokens"):
        pairs([str(token_shard([np.array([1, END])]))])
    one = [str(token_shard([np.arange(100), np.array([1, END])]))]
    with pytest.raises(DataError, match="one document only"):
        pairs(one)
    assert len(pairs(one, negatives="swapped")) == 8
