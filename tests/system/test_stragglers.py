"""A rank that is slow is named, and its time is what the others are held up by."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT, Trainer

pytestmark = pytest.mark.processes

_SLOW_S = 0.1


@pytest.mark.parametrize("engine", ["kind=accelerate", "zero=3"])
def test_a_slow_rank_is_named_and_holds_up_the_other(engine: str, trainer: Trainer) -> None:
    command = trainer.command(f"engine.{engine}", "train.steps=6", "batch.global=8", "batch.micro=4", ranks=2)
    place = command.index("train")
    command[place - 1 : place + 1] = [str(ROOT / "tests" / "system" / "slow_rank.py")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "SLOW_RANK": "1", "SLOW_S": str(_SLOW_S)}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert sys.executable == command[0]
    rows = [row for row in trainer.rows() if "probe" not in row]
    # One micro-batch a step: the slow rank works longer by its sleep, and the other waits for it (a mean over both).
    spread = sorted(row["own_s_max"] - row["own_s_min"] for row in rows[1:])
    assert spread[len(spread) // 2] > 0.6 * _SLOW_S
    assert sorted(row["comm_s"] for row in rows[1:])[len(spread) // 2] > 0.3 * _SLOW_S
    assert [row["slowest_rank"] for row in rows[1:]].count(1) >= 4
    assert any((row["straggler"] or "").startswith("rank 1 on ") for row in rows)
