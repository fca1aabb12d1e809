from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from configs.errors import ConfigError
from configs.options import validate
from data.batches import BatchOptions, BatchPlan


def options(rows: int, micro: int | None = None) -> BatchOptions:
    return BatchOptions(global_=rows, micro=micro)


@settings(deadline=None)
@given(
    world_size=st.integers(1, 9),
    micro=st.integers(1, 7),
    accumulation=st.integers(1, 5),
    step=st.integers(0, 10**12),
)
def test_ranks_and_micro_batches_cover_each_position_of_a_step_once(
    world_size: int, micro: int, accumulation: int, step: int
) -> None:
    rows = world_size * micro * accumulation
    plans = [BatchPlan.of(options(rows, micro), rank, world_size) for rank in range(world_size)]
    positions = np.concatenate([plan.positions(step, m) for plan in plans for m in range(plan.num_micro)])
    assert np.array_equal(np.sort(positions), np.arange(step * rows, (step + 1) * rows))


def test_every_micro_batch_has_the_asked_size() -> None:
    plan = BatchPlan.of(options(24, 4), rank=1, world_size=2)
    assert plan.num_micro == 3
    assert [len(plan.positions(0, micro)) for micro in range(3)] == [4, 4, 4]


def test_without_micro_a_rank_takes_its_whole_share_at_once() -> None:
    plan = BatchPlan.of(options(24), rank=1, world_size=2)
    assert (plan.num_micro, plan.micro_rows) == (1, 12)


def fits(rows: int, micro: int | None, world_size: int) -> bool:
    try:
        BatchPlan.of(options(rows, micro), 0, world_size)
    except ConfigError:
        return False
    return True


@given(rows=st.integers(1, 200), micro=st.none() | st.integers(1, 40), world_size=st.integers(1, 24))
def test_every_size_that_the_message_offers_fits(rows: int, micro: int | None, world_size: int) -> None:
    assume(not fits(rows, micro, world_size))
    with pytest.raises(ConfigError) as caught:
        BatchPlan.of(options(rows, micro), 0, world_size)
    offered = {"global": [], "micro": [], "rank": []} | {
        match[1]: [int(number) for number in re.findall(r"\d+", line)]
        for line in str(caught.value).splitlines()[1:]
        if (match := re.search(r"(global|micro|rank)", line))
    }
    assert offered["global"]
    assert all(fits(size, micro, world_size) for size in offered["global"])
    assert all(fits(rows, size, world_size) for size in offered["micro"])
    assert all(fits(rows, micro, size) for size in offered["rank"])


def test_the_message_names_the_keys_and_the_nearest_sizes() -> None:
    with pytest.raises(ConfigError) as caught:
        BatchPlan.of(options(18, 4), 0, 2)
    message = str(caught.value)
    assert "batch.global=18" in message
    assert "batch.micro=4 on 2 rank(s)" in message
    assert "batch.global=16 or 24" in message
    assert "batch.micro=1, 3 or 9" in message


@pytest.mark.parametrize("sizes", [{"global": 0}, {"global": -8}, {"global": 8, "micro": 0}, {"micro": 2}])
def test_impossible_sizes_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        validate(BatchOptions, sizes, "batch")
