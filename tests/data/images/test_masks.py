from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.images.mask_options import BlockMaskOptions
from data.images.masks import BlockMask, block_shape, to_count
from data.sample import Transform


def masks(made: Transform, number: int, field: str = "mask") -> np.ndarray:
    return np.stack([made({}, np.random.default_rng(seed))[field] for seed in range(number)])


@pytest.mark.parametrize(
    ("size", "patch_size", "ratio", "count"),
    [(224, 16, 0.75, 147), ([32, 64], 8, 0.5, 16), (28, 7, 0.4, 6), (32, 16, 0.0, 0), (32, 16, 1.0, 4)],
)
def test_random_masks_have_exactly_their_count(
    size: Any, patch_size: int, ratio: float, count: int, transform: Callable[..., Transform]
) -> None:
    found = masks(transform(kind="random_mask", size=size, patch_size=patch_size, ratio=ratio), 50)
    assert found.dtype == bool
    assert (found.sum(axis=1) == count).all()


def test_random_masks_take_every_patch_equally_often(transform: Callable[..., Transform]) -> None:
    found = masks(transform(kind="random_mask", size=64, patch_size=16, ratio=0.25), 4000)
    assert np.abs(found.mean(axis=0) - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / 4000)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 16),
    columns=st.integers(1, 16),
    ratio=st.floats(0, 1),
    block=st.integers(1, 30),
    seed=st.integers(0, 9),
)
def test_block_masks_reach_their_count_or_stay_below_it(
    rows: int, columns: int, ratio: float, block: int, seed: int
) -> None:
    count = round(ratio * rows * columns)
    for kind in ("exact", "at_most"):
        options = BlockMaskOptions(
            size=(rows * 4, columns * 4),
            patch_size=4,
            ratio=(ratio, ratio),
            min_block=block,
            count=kind,  # type: ignore[arg-type]
        )
        mask = BlockMask(options)({}, np.random.default_rng(seed))["mask"]
        assert mask.shape == (rows * columns,)
        assert mask.sum() == count if kind == "exact" else mask.sum() <= count


def test_block_masks_are_made_of_blocks(transform: Callable[..., Transform]) -> None:
    """Masked patches have far more masked neighbours than those of a random mask of as many."""

    def neighbours(found: np.ndarray) -> float:
        grid = found.reshape(-1, 14, 14)
        return float((grid[:, 1:] & grid[:, :-1]).sum() / grid[:, 1:].sum())

    blocks = masks(transform(kind="block_mask", count="at_most"), 100)
    alone = masks(transform(kind="random_mask", ratio=0.4), 100)
    assert neighbours(blocks) > 0.75
    assert neighbours(alone) < 0.45
    assert blocks.sum(axis=1).mean() > 0.85 * 78


def test_one_block_is_a_rectangle_of_its_aspect(transform: Callable[..., Transform]) -> None:
    made = transform(
        kind="block_mask", size=400, patch_size=10, ratio=[0.1, 0.1], min_block=160, aspect=[0.5, 2.0], count="at_most"
    )
    for mask in masks(made, 50).reshape(-1, 40, 40):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not mask.any():  # all ten draws were rounded up above the count
            continue
        assert mask.sum() == len(rows) * len(columns)
        assert mask.sum() <= 160
        assert 0.45 < len(rows) / len(columns) < 2.2


def test_a_range_of_ratios_and_a_probability(transform: Callable[..., Transform]) -> None:
    counts = masks(transform(kind="block_mask", ratio=[0.1, 0.5], probability=0.5), 400).sum(axis=1)
    assert 0.42 < (counts == 0).mean() < 0.58
    masked = counts[counts > 0] / 196
    assert 0.09 < masked.min() < 0.13
    assert 0.47 < masked.max() < 0.51


def test_shapes_have_their_area_and_a_log_uniform_aspect() -> None:
    rng = np.random.default_rng(0)
    shapes = np.array([block_shape(rng, 10_000, (0.3, 1 / 0.3)) for _ in range(2000)])
    assert np.abs(shapes.prod(axis=1) / 10_000 - 1).max() < 0.02
    logs = np.sort(np.log(shapes[:, 0] / shapes[:, 1]) / np.log(1 / 0.3))
    assert np.abs((logs + 1) / 2 - np.linspace(0, 1, 2000)).max() < 0.05


def test_to_count_takes_away_or_adds_what_is_allowed() -> None:
    mask, allowed = np.array([1, 1, 1, 0, 0, 0], dtype=bool), np.array([0, 0, 0, 0, 1, 1], dtype=bool)
    rng = np.random.default_rng(0)
    before = mask.copy()
    fewer = [to_count(rng, mask, 1, allowed_P=allowed) for _ in range(50)]
    assert {tuple(np.flatnonzero(found)) for found in fewer} == {(0,), (1,), (2,)}
    more = [to_count(rng, mask, 4, allowed_P=allowed) for _ in range(50)]
    assert {tuple(np.flatnonzero(found)) for found in more} == {(0, 1, 2, 4), (0, 1, 2, 5)}
    assert to_count(rng, mask, 6, allowed_P=allowed).sum() == 5
    assert np.array_equal(mask, before)
