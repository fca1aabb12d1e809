from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from configs.errors import DataError
from data.randomness import stream_at
from data.reading import Reader, Row
from data.sample import Sample, SampleError
from data.sources import MixtureOptions
from data.transforms import Keep, KeepOptions, Transformed


class Damaged:
    """Numbers 0 .. size - 1, some of them damaged."""

    fingerprint = 5

    def __init__(self, size: int, damaged: set[int]) -> None:
        self.size, self.damaged = size, damaged

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Sample:
        if index in self.damaged:
            raise SampleError(f"shard.tar, sample '{index}': damaged")
        return {"x": np.array(index)}


class Noisy(Damaged):
    """A number and some noise."""

    def draw(self, index: int, generator: np.random.Generator) -> Sample:
        return self[index] | {"noise": generator.normal(size=3)}


def numbers(samples: list[Sample]) -> list[int]:
    return [int(sample["x"]) for sample in samples]


def rows(*indices: int) -> list[Row]:
    return [Row(100 + number, index) for number, index in enumerate(indices)]


@pytest.mark.parametrize("threads", [1, 4])
def test_a_damaged_sample_is_replaced_by_its_neighbour_and_reported(threads: int) -> None:
    samples, bad = Reader(Damaged(10, {3, 4, 9}), threads=threads).read(rows(1, 3, 9, 4, 0))
    assert numbers(samples) == [1, 5, 0, 5, 0]
    assert [(item.position, item.sample, item.replaced_by) for item in bad] == [(101, 3, 5), (102, 9, 0), (103, 4, 5)]
    assert bad[0].error == "shard.tar, sample '3': damaged"


@pytest.mark.parametrize("size", [1, 10, 100])
def test_when_no_neighbour_is_whole_the_error_names_the_sample(size: int) -> None:
    with pytest.raises(SampleError, match="sample '0': damaged"):
        Reader(Damaged(size, set(range(size)))).read(rows(0))


def test_other_errors_are_not_papered_over() -> None:
    class Broken(Damaged):
        def __getitem__(self, index: int) -> Sample:
            raise DataError("no such folder")

    with pytest.raises(DataError, match="no such folder"):
        Reader(Broken(10, set())).read(rows(0))


def test_a_replacement_comes_from_the_same_part_of_a_mixture() -> None:
    from data.mixture import Mixture

    mixture = object.__new__(Mixture)
    mixture._options = MixtureOptions.model_construct(block=8)
    mixture._names = ["a", "b"]
    mixture._sources = [Damaged(4, {3}), Damaged(5, set())]
    mixture._starts = np.array([0, 4, 9])
    samples, (bad,) = Reader(mixture).read(rows(3))
    assert (numbers(samples), bad.replaced_by) == ([0], 0)


def test_random_choices_depend_on_the_position_alone() -> None:
    def noise(key: int, position: int, threads: int = 1) -> Any:
        reader = Reader(Noisy(10, {2}), key=key, threads=threads)
        return reader.read([Row(position, 7), Row(position + 1, 7)])[0][0]["noise"].tolist()

    assert noise(1, 5) == noise(1, 5) == noise(1, 5, threads=3)
    assert noise(1, 5) != noise(1, 6)
    assert noise(1, 5) != noise(2, 5)
    assert noise(1, 10**12) != noise(1, 10**12 + 1)


def test_streams_of_neighbouring_positions_are_unrelated() -> None:
    draws = np.array([stream_at(3, position).random(64) for position in range(200)])
    correlations = np.corrcoef(draws) - np.eye(200)
    assert np.abs(correlations).max() < 0.6
    assert abs(draws.mean() - 0.5) < 0.01


def test_transforms_apply_in_turn_and_count_in_the_fingerprint() -> None:
    source = Noisy(10, set())
    both = Transformed(source, [KeepOptions(fields=["x", "noise"]), KeepOptions(fields=["noise"])])
    assert both.draw(4, stream_at(0, 1)).keys() == {"noise"}
    np.testing.assert_array_equal(both[4]["noise"], both[4]["noise"])
    prints = {source.fingerprint, both.fingerprint, Transformed(source, [KeepOptions(fields=["x"])]).fingerprint}
    assert len(prints) == 3


def test_a_field_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="keep: no field y; the sample has x"):
        Keep(KeepOptions(fields=["x", "y"]))({"x": np.zeros(2)}, stream_at(0, 0))


def test_an_error_of_a_transform_names_the_sample() -> None:
    class Fails:
        def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
            raise SampleError("empty waveform")

    transformed = Transformed(Damaged(10, set()), [KeepOptions(fields=["x"])])
    transformed._transforms = [Fails()]
    with pytest.raises(SampleError, match="sample 4: transform keep: empty waveform"):
        transformed[4]
