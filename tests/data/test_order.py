from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.seeds import derive
from data.order import Order
from data.order_options import OrderOptions
from data.permutation import Permutation


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


def order(n: int, *, seed: int = 4, **options: Any) -> Order:
    return Order(n, seed, OrderOptions.model_validate(options))


def slowly(n: int, seed: int, epoch: int, window: int, run: int) -> list[int]:
    """One epoch of a window shuffle, written out with lists."""

    def shuffled(items: list[Any], *purpose: str | int) -> list[Any]:
        places = Permutation(len(items), derive(seed, "order", epoch, *purpose))(np.arange(len(items)))
        return [items[place] for place in places]

    rotation = derive(seed, "order", epoch, "rotation") % n
    rotated = [*range(rotation, n), *range(rotation)]
    runs = [rotated[first : first + run] for first in range(0, n, run)]
    ragged = [runs.pop()] if n % run else []
    laid = list(chain(*(shuffled(runs, "runs") if runs else []), *ragged))
    windows = [laid[first : first + window] for first in range(0, n, window)]
    return list(chain(*(shuffled(items, "window", number) for number, items in enumerate(windows))))


sizes = st.integers(1, 300)


@settings(max_examples=150, deadline=None)
@given(n=sizes, window=sizes, run=sizes, epoch=st.integers(0, 5), seed=st.integers(0, 2**31))
def test_a_window_shuffle_is_what_its_definition_with_lists_says(
    n: int, window: int, run: int, epoch: int, seed: int
) -> None:
    found = order(n, seed=seed, shuffle="window", window=window, run=run).indices(epoch * n + np.arange(n))
    assert sorted(found.tolist()) == list(range(n))
    assert found.tolist() == slowly(n, seed, epoch, window, run)


@settings(max_examples=60, deadline=None)
@given(
    n=sizes,
    window=sizes,
    run=sizes,
    positions=st.lists(st.integers(0, 700), min_size=1, max_size=60),
    shuffle=st.sampled_from(["full", "window", "none"]),
)
def test_every_order_is_a_pure_function_of_the_position(
    n: int, window: int, run: int, positions: list[int], shuffle: str
) -> None:
    options = {"shuffle": shuffle, "window": window, "run": run}
    whole = order(n, **options).indices(np.arange(701))
    asked = np.array(positions)
    before = asked.copy()
    assert order(n, **options).indices(asked).tolist() == whole[asked].tolist()
    assert np.array_equal(asked, before)
    chunks = [order(n, **options).indices(chunk) for chunk in np.array_split(asked, 3)]
    assert np.concatenate(chunks).tolist() == whole[asked].tolist()


def test_no_shuffle_is_the_samples_as_they_lie() -> None:
    assert order(5, shuffle="none").indices(np.arange(12)).tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]


def test_the_default_is_a_full_shuffle() -> None:
    positions = np.arange(3000)
    assert np.array_equal(Order(1000, 4).indices(positions), order(1000, shuffle="full", window=3).indices(positions))


@pytest.mark.parametrize(("n", "window", "run"), [(100_000, 8192, 128), (99_991, 10_000, 100), (70_000, 1000, 37)])
def test_a_window_reads_from_few_places(n: int, window: int, run: int) -> None:
    shuffled = order(n, shuffle="window", window=window, run=run).indices(np.arange(n))
    for first in range(0, n, window):
        touched = np.sort(shuffled[first : first + window])
        # Places: stretches of consecutive samples. Runs at either end of a window may be cut, the rotation cuts one.
        assert np.count_nonzero(np.diff(touched) > 1) + 1 <= window // run + 3
    fully = np.sort(order(n).indices(np.arange(window)))
    assert np.count_nonzero(np.diff(fully) > 1) > 5 * (window // run)


def test_samples_of_a_window_are_well_mixed() -> None:
    n, window, run = 65_536, 8192, 64
    epochs = [order(n, shuffle="window", window=window, run=run).indices(e * n + np.arange(n)) for e in range(8)]
    for epoch in epochs:
        for start in range(0, n, window):
            part = epoch[start : start + window].astype(np.float64)
            # Serial correlation of random order: mean 0, deviation 1 / sqrt(window) = 0.011.
            assert abs(np.corrcoef(part[:-1], part[1:])[0, 1]) < 0.055
    # Where in the epoch a sample comes is uniform: sample 12345's places over many epochs fill all eighths.
    eighths = [int(np.flatnonzero(epoch == 12345)[0]) * 8 // n for epoch in epochs]
    assert len(set(eighths)) >= 3


def test_every_sample_comes_early_and_late_alike() -> None:
    # 10 samples in runs of 4: the last run has 2. Rotation gives all samples the same share of it.
    n, epochs = 10, 1500
    found = order(n, shuffle="window", window=4, run=4).indices(np.arange(n * epochs)).reshape(epochs, n)
    counts = np.array([np.bincount(found[:, place], minlength=n) for place in range(n)])
    # Binomial(1500, 0.1): mean 150, deviation 12; five of them.
    assert np.abs(counts - epochs / n).max() < 58


def test_far_positions_of_a_window_shuffle_are_as_quick_as_the_first() -> None:
    (index,) = order(10**10, shuffle="window").indices(np.array([10**15]))
    assert 0 <= index < 10**10


def test_the_window_shuffle_is_the_same_on_every_machine() -> None:
    found = order(7, seed=0, shuffle="window", window=4, run=2).indices(np.arange(14))
    assert found.tolist() == WINDOW_GOLDEN


WINDOW_GOLDEN = [5, 2, 6, 3, 0, 1, 4, 3, 2, 1, 0, 5, 6, 4]
