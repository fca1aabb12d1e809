"""What is asked to be sharded is sharded, measured from live tensors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.processes


@cache
def _bytes_per_rank(stage: int) -> list[dict[str, Any]]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launcher, "-m", "tests.system.worker_bytes", str(stage)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_zero_3_holds_at_most_0_6_of_the_parameter_bytes_of_zero_0() -> None:
    whole, sharded = _bytes_per_rank(0), _bytes_per_rank(3)
    assert len(whole) == len(sharded) == 2
    for before, after in zip(whole, sharded, strict=True):
        assert after["live"] <= 0.6 * before["live"]


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_the_engine_reports_the_live_bytes(stage: int) -> None:
    for row in _bytes_per_rank(stage):
        assert row["said"]["parameters"] == row["live"]


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_optimizer_state_is_halved_on_two_ranks(stage: int) -> None:
    for before, after in zip(_bytes_per_rank(0), _bytes_per_rank(stage), strict=True):
        assert after["said"]["moments"] <= 0.55 * before["said"]["moments"]
