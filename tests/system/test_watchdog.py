"""A rank that stops answering: the others say where they stand, and the job ends."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest

from tests.conftest import Trainer
from train.watchdog import EXIT_STALLED

pytestmark = pytest.mark.processes


def test_a_stopped_rank_ends_the_job_and_leaves_stacks(trainer: Trainer) -> None:
    options = ["engine.kind=accelerate", "train.steps=100000", "checkpoint.every=100000", "batch.micro=4"]
    launcher = trainer.start(*options, "train.stall_limit_s=4", ranks=2)
    try:
        deadline = time.monotonic() + 60
        while not any(row["step"] >= 3 for row in trainer.rows()):
            assert launcher.poll() is None, launcher.communicate()[0]
            assert time.monotonic() < deadline, "the training did not get there in time"
            time.sleep(0.05)
        ranks = [item for item in psutil.Process(launcher.pid).children() if "train" in item.cmdline()]
        waiting, stopped = sorted(ranks, key=lambda item: item.environ()["RANK"])
        os.kill(stopped.pid, signal.SIGSTOP)
        deadline = time.monotonic() + 25
        while waiting.is_running() and waiting.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, "the rank that waits did not give up"
            time.sleep(0.05)
        assert stopped.status() == psutil.STATUS_STOPPED
        # torchrun has asked it to end, and would kill it after half a minute.
        os.kill(stopped.pid, signal.SIGCONT)
        output, _ = launcher.communicate(timeout=60)
    finally:
        launcher.kill()
    assert launcher.returncode != 0
    assert "rank 0 on" in output
    assert "takes longer than train.stall_limit_s=4" in output
    assert f"exitcode  : {EXIT_STALLED}" in output
    stacks = (trainer.folder / "run" / "stalls" / "rank-00000.txt").read_text()
    assert "train/loop.py" in stacks
    assert "File" in stacks.split("most recent call first")[-1]
    assert not stopped.is_running()
