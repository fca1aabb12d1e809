from __future__ import annotations

import pickle

import numpy as np
import pytest

from configs.errors import DataError
from data.batches import BatchPlan
from data.in_memory import InMemory
from data.loader import TrainLoader


def test_samples_are_what_was_given() -> None:
    source = InMemory([{"a": [1, 2], "b": 0.5}, {"a": np.arange(3, dtype=np.uint8), "text": "hello"}])
    assert len(source) == 2
    assert {name: array.tolist() for name, array in source[0].items()} == {"a": [1, 2], "b": 0.5}
    assert source[1]["a"].dtype == np.uint8
    assert str(source[1]["text"]) == "hello"
    for index in (-1, 2):
        with pytest.raises(IndexError):
            source[index]


def test_nobody_changes_a_sample_by_accident() -> None:
    given = np.arange(3)
    source = InMemory([{"a": given}])
    with pytest.raises(ValueError, match="read-only"):
        source[0]["a"][0] = 7
    source[0]["b"] = np.array(1)
    assert list(source[0]) == ["a"]
    given[0] = 5  # the caller's own array can still be written


def test_the_fingerprint_follows_every_detail() -> None:
    different = [
        [{"a": [1, 2]}],
        [{"a": [2, 1]}],
        [{"b": [1, 2]}],
        [{"a": [1.0, 2.0]}],
        [{"a": [[1, 2]]}],
        [{"a": [1, 2]}, {"a": [1, 2]}],
        [{"a": [1]}, {"a": [2]}],
    ]
    prints = [InMemory(samples).fingerprint for samples in different]
    assert len(set(prints)) == len(different)
    assert all(0 <= found < 2**63 for found in prints)
    strided = np.arange(4).reshape(2, 2).T
    assert InMemory([{"a": strided, "b": 1}]).fingerprint == InMemory([{"b": 1, "a": strided.copy()}]).fingerprint
    assert pickle.loads(pickle.dumps(InMemory(different[0]))).fingerprint == prints[0]


@pytest.mark.parametrize("samples", [[], [{"a": [1, None]}], [{"a": [[1], [2, 3]]}], [{"a": object()}]])
def test_what_is_no_sample_is_refused(samples: list[dict[str, object]]) -> None:
    with pytest.raises(DataError, match="InMemory"):
        InMemory(samples)  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [0, 2])
def test_it_is_loaded_like_any_source(workers: int) -> None:
    source = InMemory([{"row": [number, number * number]} for number in range(12)])
    loader = TrainLoader(source, seed=0, plan=BatchPlan(4, 2, 0, 1), start=0, stop=3, workers=workers, prefetch=2)
    rows = [row for step in loader for micro in step.micro_batches for row in micro["row"].tolist()]
    loader.close()
    assert sorted(rows) == [[number, number * number] for number in range(12)]
