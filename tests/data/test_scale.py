"""Position is the only state: sizes and positions at which nothing may be proportional to them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from data.batches import BatchPlan
from data.order import Order

_FIRST_BATCH = """
import sys, time
from pathlib import Path
import numpy as np
from data.batches import BatchPlan
from data.loader import TrainLoader

class Virtual:
    fingerprint = 1
    def __len__(self): return 10**10
    def __getitem__(self, index): return {"row": np.array([index])}

start = int(sys.argv[1]) // 64
began = time.perf_counter()
plan = BatchPlan(64, 8, 0, 2)
loader = TrainLoader(Virtual(), seed=0, plan=plan, start=start, stop=start + 10, workers=0, prefetch=2)
batch = next(loader)
took = time.perf_counter() - began
loader.close()
# Of this process alone; getrusage's peak begins with that of the process that started this one.
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(took, int(peak.split()[1]) / 1e3, batch.micro_batches[0]["row"].tolist())
"""


def _first_batch(position: int) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, "-c", _FIRST_BATCH, str(position)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, megabytes = done.stdout.split()[:2]
    return float(seconds), float(megabytes)


def test_resuming_at_a_billion_of_ten_billion_samples_is_a_fresh_start() -> None:
    _, fresh_mb = _first_batch(0)
    seconds, resumed_mb = _first_batch(10**9)
    assert seconds < 1
    assert resumed_mb < fresh_mb + 200


def test_1024_ranks_draw_every_position_exactly_once() -> None:
    world, rows = 1024, 4
    plans = [BatchPlan(world * rows * 2, rows, rank, world) for rank in range(world)]
    for step in (0, 1, 10**6):
        positions = np.concatenate([plan.positions(step, micro) for plan in plans for micro in range(2)])
        first = step * world * rows * 2
        assert np.array_equal(np.sort(positions), np.arange(first, first + world * rows * 2))


def test_1024_ranks_go_through_epochs_exactly_once() -> None:
    world, samples = 1024, 8 * 1024 + 300
    plans = [BatchPlan(world * 2, 2, rank, world) for rank in range(world)]
    steps = range(3 * samples // (world * 2) + 1)
    positions = np.concatenate([plan.positions(step, 0) for step in steps for plan in plans[::-1]])
    in_order = Order(samples, seed=5).indices(positions)[np.argsort(positions)]
    for epoch in range(3):
        assert np.array_equal(np.sort(in_order[epoch * samples : (epoch + 1) * samples]), np.arange(samples))
