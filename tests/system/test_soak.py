"""What takes minutes: `make soak`."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, Trainer
from train.checkpoint import Checkpoints
from train.world import World

pytestmark = [pytest.mark.soak, pytest.mark.processes, pytest.mark.timeout(3600)]


def test_thirty_kills_at_random_moments_lose_nothing(trainer: Trainer) -> None:
    """Two ranks under ZeRO-2 that save at every step; each start goes on from an intact checkpoint, exactly."""
    steps = 100_000
    saving = [f"train.steps={steps}", "checkpoint.every=1", "checkpoint.keep_last=2", "batch.global=4", "batch.micro=2"]
    moments = random.Random(0)
    reached = 0
    for _ in range(30):
        logged = max((row["step"] for row in trainer.rows()), default=0)
        process = trainer.start(*saving, "engine.zero=2", ranks=2)
        while not any(row["step"] > logged for row in trainer.rows()):
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        time.sleep(0.2)  # the kernel takes the ranks down with it
        checkpoint = Checkpoints(trainer.folder / "run" / "checkpoints", World()).newest_intact(pytest.fail)
        assert checkpoint is not None
        assert checkpoint.step > reached
        reached = checkpoint.step
    killed = trainer.train(*saving, "engine.zero=2", f"train.steps={reached + 2}", ranks=2)
    whole = trainer.train(*saving, "engine.zero=2", f"train.steps={reached + 2}", ranks=2, run="whole")
    assert [row["loss"] for row in killed if "lr" in row] == [row["loss"] for row in whole if "lr" in row]


def test_make_train_on_a_bare_clone(tmp_path: Path) -> None:
    """The first command of the README: it learns at least 2 nats, and goes on when given more steps."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    environment = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "OMP_NUM_THREADS")}
    command = ["make", "train", f"PYTHON={sys.executable}"]
    subprocess.run(command, cwd=clone, env=environment, check=True, timeout=1800)
    subprocess.run([*command, "STEPS=310"], cwd=clone, env=environment, check=True, timeout=600)
    rows = [json.loads(line) for line in (clone / "runs/quickstart/metrics.jsonl").read_text().splitlines()]
    losses = {row["step"]: row["loss"] for row in rows if row.get("probe") == "validation"}
    assert losses[0] - losses[300] >= 2
    assert max(losses) == 310
