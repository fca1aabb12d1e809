from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from data.sample import Sample, SampleError, Transform


def drawn(made: Transform, number: int = 60) -> list[Sample]:
    return [made({}, np.random.default_rng(seed)) for seed in range(number)]


def test_targets_are_blocks_of_one_shape_and_the_context_has_none_of_them(transform: Callable[..., Transform]) -> None:
    for sample in drawn(transform(kind="multi_block_mask")):
        context, targets = sample["context"], sample["targets"]
        assert context.shape == (196,)
        assert targets.shape == (4, 196)
        assert context.dtype == targets.dtype == bool
        assert not (context & targets.any(axis=0)).any()
        assert context.sum() >= 10
        shapes = set()
        for target in targets.reshape(4, 14, 14):
            rows, columns = np.flatnonzero(target.any(axis=1)), np.flatnonzero(target.any(axis=0))
            assert target.sum() == len(rows) * len(columns)
            shapes.add((len(rows), len(columns)))
        ((height, width),) = shapes
        assert 0.15 * 196 * 0.85 < height * width < 0.2 * 196 * 1.15
        assert 0.6 < height / width < 1.8


def test_context_and_targets_are_what_is_left_of_a_square(transform: Callable[..., Transform]) -> None:
    made = transform(kind="multi_block_mask", context_scale=[0.5, 0.5], num_targets=1, target_scale=[0.005, 0.005])
    for sample in drawn(made, 20):
        whole = (sample["context"] | sample["targets"][0]).reshape(14, 14)
        square = np.flatnonzero(sample["context"].reshape(14, 14).any(axis=1))
        assert len(square) == 10
        assert 99 <= whole.sum() <= 101


def test_exact_counts_make_batches_rectangular(transform: Callable[..., Transform]) -> None:
    samples = drawn(transform(kind="multi_block_mask", context_count=80, target_count=25))
    for sample in samples:
        assert sample["context"].sum() == 80
        assert sample["targets"].sum(axis=1).tolist() == [25] * 4
        assert not (sample["context"] & sample["targets"].any(axis=0)).any()
    assert len({sample["context"].tobytes() for sample in samples}) == len(samples)


def test_a_grid_that_is_not_square(transform: Callable[..., Transform]) -> None:
    made = transform(kind="multi_block_mask", size=[64, 256], patch_size=16, context_scale=[1.0, 1.0], min_context=1)
    for sample in drawn(made, 10):
        seen = sample["context"].reshape(4, 16).any(axis=0)
        assert 0 <= np.flatnonzero(seen)[-1] - np.flatnonzero(seen)[0] < 8
        assert (sample["context"] | sample["targets"].any(axis=0)).sum() >= 4 * 8


@pytest.mark.parametrize("options", [{"min_context": 190}, {"target_count": 60}, {"context_count": 190}])
def test_what_cannot_be_had_is_an_error(options: dict[str, int], transform: Callable[..., Transform]) -> None:
    with pytest.raises(SampleError, match=r"none of 20 draws left .* of 196 patches to the context"):
        transform(kind="multi_block_mask", **options)({}, np.random.default_rng(0))
