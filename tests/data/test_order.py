from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.order import Order


@pytest.mark.parametrize("num_samples", [1, 2, 3, 17, 256, 1000])
def test_every_epoch_visits_every_index_once(num_samples: int) -> None:
    found = Order(num_samples, seed=4).indices(np.arange(5 * num_samples))
    for epoch in found.reshape(5, num_samples):
        assert np.array_equal(np.sort(epoch), np.arange(num_samples))


def test_epochs_differ() -> None:
    epochs = Order(100, seed=4).indices(np.arange(1000)).reshape(10, 100)
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 10


def test_seeds_differ() -> None:
    orders = {tuple(Order(100, seed).indices(np.arange(100)).tolist()) for seed in range(10)}
    assert len(orders) == 10


@settings(max_examples=40, deadline=None)
@given(
    num_samples=st.integers(3, 50),
    seed=st.integers(0, 2**31),
    positions=st.lists(st.integers(0, 100), min_size=1, max_size=40),
)
def test_an_index_depends_on_its_position_only(num_samples: int, seed: int, positions: list[int]) -> None:
    whole_run = Order(num_samples, seed).indices(np.arange(101))
    asked = np.array(positions)
    assert np.array_equal(Order(num_samples, seed).indices(asked), whole_run[asked])


def test_positions_far_into_a_run_are_as_quick_as_the_first() -> None:
    (index,) = Order(10**10, seed=1).indices(np.array([10**15]))
    assert 0 <= index < 10**10


def test_the_order_is_the_same_on_every_machine() -> None:
    # A change here changes the order of every run that anybody resumes.
    assert Order(6, seed=0).indices(np.arange(12)).tolist() == GOLDEN


GOLDEN = [5, 3, 4, 2, 0, 1, 0, 2, 3, 4, 1, 5]
