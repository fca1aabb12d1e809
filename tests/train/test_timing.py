from __future__ import annotations

import time

import pytest
import torch

from train.efficiency import Efficiency
from train.engines.blocked import BlockedTime
from train.timing import SLOW, SLOW_ROWS, StepClock, Stragglers
from train.world import World


def near(seconds: float) -> object:
    """As long as was slept, or a little longer."""
    return pytest.approx(seconds + 0.01, abs=0.0101)


def test_a_row_tells_waits_from_work_and_leaves_probes_out() -> None:
    blocked = BlockedTime(torch.device("cpu"))
    clock = StepClock(World(), blocked.seconds)
    sleep_blocked = blocked.timed(time.sleep)
    for _ in range(2):
        clock.waiting_for_data(lambda: time.sleep(0.02))
        clock.waiting_for_ranks(lambda: time.sleep(0.03))
        sleep_blocked(0.05)
        time.sleep(0.04)
        clock.add(70)
    with clock.aside("probe"):
        sleep_blocked(0.1)
    with clock.aside("checkpoint"):
        time.sleep(0.2)
    row = clock.row()
    assert row["step_s"] == near(0.14)
    assert row["data_wait_s"] == near(0.02)
    assert row["sync_s"] == near(0.03)
    assert row["comm_s"] == near(0.05)
    assert row["own_s_min"] == row["own_s_median"] == row["own_s_max"] == near(0.06)
    assert row["comm_share"] == pytest.approx(row["comm_s"] / row["step_s"], abs=1e-4)
    assert row["tokens_per_s"] == pytest.approx(70 / row["step_s"], rel=1e-3)
    assert row["probe_s"] == near(0.1)
    assert row["checkpoint_s"] == near(0.2)
    assert row["device_peak_mb"] is None
    time.sleep(0.05)
    clock.add(1)
    # The next row knows nothing of the one before.
    row = clock.row()
    assert row["step_s"] == near(0.05)
    assert (row["comm_s"], row["sync_s"], row["probe_s"]) == (0, 0, 0)


def test_time_within_blocked_time_is_counted_once() -> None:
    blocked = BlockedTime(torch.device("cpu"))
    inner = blocked.timed(time.sleep)
    blocked.timed(lambda: [inner(0.05), inner(0.05)])()
    assert blocked.seconds() == near(0.1)


def test_blocked_time_ends_with_an_error_too() -> None:
    blocked = BlockedTime(torch.device("cpu"))
    with pytest.raises(ZeroDivisionError):
        blocked.timed(lambda: 1 / 0)()
    time.sleep(0.05)
    blocked.timed(time.sleep)(0.02)
    assert blocked.seconds() == near(0.02)


def test_only_a_rank_that_stays_slow_is_a_straggler() -> None:
    slow = (1.0, SLOW + 0.01, 1.0, 1.0)
    even = (1.0, SLOW - 0.01, 1.0, 1.0)
    stragglers = Stragglers(4)
    rows = [slow] * (SLOW_ROWS - 1) + [even] + [slow] * (SLOW_ROWS + 1) + [even]
    found = [stragglers.add(row) for row in rows]
    assert found == [None] * (2 * SLOW_ROWS - 1) + [1, 1, None]


def test_of_two_ranks_one_may_be_a_straggler_and_one_alone_never() -> None:
    two, one = Stragglers(2), Stragglers(1)
    for _ in range(SLOW_ROWS):
        found = two.add((2.0, 1.0)), one.add((2.0,))
    assert found == (0, None)


def test_mfu_is_the_share_of_the_peak_of_all_devices() -> None:
    known = Efficiency(step_flops=6e12, device="gpu", peak_flops=1e12, num_devices=4)
    assert known.row(3.0) == {"model_flops_per_s": 2e12, "mfu": 0.5}


def test_mfu_is_not_guessed() -> None:
    assert Efficiency(step_flops=6e12).row(3.0) == {"model_flops_per_s": 2e12, "mfu": None}
    assert Efficiency(peak_flops=1e12).row(3.0) == {"model_flops_per_s": None, "mfu": None}
