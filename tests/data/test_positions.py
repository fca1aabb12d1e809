"""Whatever the sizes: ranks together take exactly the positions of a step, once each, and resuming gives the tail."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from data.batches import BatchPlan
from data.loader import StepBatch, TrainLoader
from data.mixture import MixtureOrder
from data.order import Order, SampleOrder
from data.order_options import OrderOptions
from data.sample import Sample

SIZES = (17, 40)


class Positions:
    """A source in one part or two, whose samples say which they are."""

    fingerprint = 11

    def __init__(self, size: int, *, is_mixture: bool) -> None:
        self.size = sum(SIZES) if is_mixture else size
        if is_mixture:
            self.order = self._order

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Sample:
        return {"index": np.array(index)}

    def draws(self, seed: int, global_rows: int, steps: int) -> Any:
        raise NotImplementedError

    def _order(self, seed: int, global_rows: int, options: OrderOptions) -> SampleOrder:
        parts = [Order(size, seed + number, options) for number, size in enumerate(SIZES)]
        stages = [(0, [1.0, 3.0]), (5 * global_rows, [2.0, 1.0])]
        return MixtureOrder(parts, np.array([0, SIZES[0]]), stages, seed=seed, block=8)


def load(
    source: Positions, plan: BatchPlan, options: OrderOptions, start: int, stop: int, workers: int
) -> list[StepBatch]:
    loading = TrainLoader(source, seed=3, plan=plan, order=options, start=start, stop=stop, workers=workers, prefetch=2)
    steps = list(loading)
    loading.close()
    return steps


def rows_of(step: StepBatch) -> list[int]:
    return [int(index) for micro in step.micro_batches for index in micro["index"]]


orders = st.builds(
    OrderOptions,
    shuffle=st.sampled_from(["full", "window", "none"]),
    window=st.integers(1, 30),
    run=st.integers(1, 9),
)


def check(
    size: int,
    is_mixture: bool,
    worlds: tuple[int, int],
    micro: tuple[int, int],
    options: OrderOptions,
    start: int,
    workers: int,
) -> None:
    source = Positions(size, is_mixture=is_mixture)
    rows = worlds[0] * worlds[1] * micro[0] * micro[1]
    stop = start + 3
    whole = load(source, BatchPlan(rows, rows, 0, 1), options, 0, stop, 0)
    order = source._order(3, rows, options) if is_mixture else Order(size, 3, options)
    for world_size, micro_rows in zip(worlds, micro, strict=True):
        ranks = [
            load(source, BatchPlan(rows, micro_rows, rank, world_size), options, start, stop, workers)
            for rank in range(world_size)
        ]
        for number, step in enumerate(range(start, stop)):
            found = Counter(row for rank in ranks for row in rows_of(rank[number]))
            expected = order.indices(np.arange(step * rows, (step + 1) * rows))
            assert found == Counter(expected.tolist()) == Counter(rows_of(whole[step]))
            assert sum(rank[number].digest for rank in ranks) % 2**64 == whole[step].digest


CASES = {
    "size": st.integers(1, 60),
    "is_mixture": st.booleans(),
    "micro": st.tuples(st.integers(1, 3), st.integers(1, 3)),
    "options": orders,
    "start": st.integers(0, 12),
}


@settings(deadline=None, max_examples=60)
@given(worlds=st.tuples(st.integers(1, 5), st.integers(1, 5)), workers=st.just(0), **CASES)
def test_any_sizes(**case: Any) -> None:
    check(**case)


@settings(deadline=None, max_examples=5)
@given(worlds=st.tuples(st.integers(1, 2), st.integers(1, 2)), workers=st.integers(1, 2), **CASES)
def test_any_sizes_with_loader_processes(**case: Any) -> None:
    check(**case)
