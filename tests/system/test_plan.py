"""What a plan says that a rank holds, against the live tensors of two real ranks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache

import pytest

from tests.conftest import ROOT
from tests.system.worker_held import recipe_of
from train.check import num_parameters
from train.plan.memory import memory_of
from train.plan.quantities import Flops, Layout, Memory, Workload

pytestmark = pytest.mark.processes

TOLERANCE = 0.02
ENGINES = [
    *("accelerate-float32", "0-float32"),
    *(f"{stage}-{precision}" for stage in (1, 2, 3) for precision in ("float32", "bf16")),
]


def live(name: str) -> list[dict[str, int]]:
    """Of both ranks."""
    return _rows()[name]


@cache
def _rows() -> dict[str, list[dict[str, int]]]:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
            *("-m", "tests.system.worker_held", *ENGINES),
        ],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {row["name"]: row["ranks"] for row in rows}


def planned(name: str) -> Memory:
    """Of weights and what follows from them; nothing is said of activations here."""
    engine, precision = name.split("-")
    recipe = recipe_of(engine, precision)
    numbers = num_parameters(recipe)
    workload = Workload(numbers, numbers, 0, 0, 8, Flops(0.0, 0.0), 0, 0, 0)
    stage = getattr(recipe.engine, "zero", 0)
    return memory_of(workload, Layout(2, 2, stage, "none", False, recipe.precision, micro_rows=1))


@pytest.mark.parametrize("kind", ["weights", "gradients", "optimizer"])
@pytest.mark.parametrize("name", ENGINES)
def test_ranks_hold_what_is_planned(name: str, kind: str) -> None:
    ranks = live(name)
    assert len(ranks) == 2
    for rank in ranks:
        assert getattr(planned(name), kind) == pytest.approx(rank[kind], rel=TOLERANCE)


@pytest.mark.parametrize("name", ["1-float32", "2-float32", "2-bf16", "3-float32", "3-bf16"])
def test_buffers_are_a_bucket_and_at_stage_3_the_weights_gathered(name: str) -> None:
    for rank in live(name):
        buffers = rank["buckets"] + (rank["gathered"] if name.startswith("3") else 0)
        assert planned(name).buffers == pytest.approx(buffers, rel=TOLERANCE)
