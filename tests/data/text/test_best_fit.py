from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.text.best_fit import best_fit_decreasing


def naive_best_fit_decreasing(sizes: list[int], capacity: int) -> list[int]:
    """How full each bin is, by the definition, one item at a time. Which of two equally full bins is taken is open."""
    bins: list[list[int]] = []
    for size in sorted(sizes, reverse=True):
        fitting = [found for found in bins if sum(found) + size <= capacity]
        if fitting:
            max(fitting, key=sum).append(size)
        else:
            bins.append([size])
    return sorted(sum(found) for found in bins)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), capacity=st.integers(1, 40))
def test_bins_are_as_full_as_those_of_one_item_at_a_time(data: st.DataObject, capacity: int) -> None:
    sizes = data.draw(st.lists(st.integers(1, capacity), max_size=60))
    bins = best_fit_decreasing(np.array(sizes, dtype=np.int64), capacity)
    assert sorted(np.bincount(bins, sizes).tolist()) == naive_best_fit_decreasing(sizes, capacity)


@pytest.mark.parametrize("capacity", [65, 513])
def test_random_lengths_pack_within_one_percent_of_the_lower_bound(capacity: int) -> None:
    lengths = np.random.default_rng(0).lognormal(4.0, 1.0, 20_000).astype(np.int64) + 1
    sizes = lengths[lengths <= capacity]
    bins = best_fit_decreasing(sizes, capacity)
    assert np.bincount(bins, sizes).max() <= capacity
    assert bins.max() + 1 <= 1.01 * -(-sizes.sum() // capacity)


def test_equal_items_are_placed_in_their_order() -> None:
    first = best_fit_decreasing(np.array([3] * 7), 7)
    assert first.tolist() == [0, 0, 1, 1, 2, 2, 3]
