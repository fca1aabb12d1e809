"""Processes that die: nothing outlives the job, nothing is lost, another world goes on."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import Trainer

pytestmark = pytest.mark.processes

_LONG = ["train.steps=100000", "checkpoint.every=10", "batch.global=8", "batch.micro=2", "engine.kind=accelerate"]


def _wait_for(trainer: Trainer, step: int) -> None:
    deadline = time.monotonic() + 120
    while not any(row["step"] >= step for row in trainer.rows()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _shared_memory() -> list[str]:
    """What torch holds; other programs may use shared memory too."""
    return sorted(name for name in os.listdir("/dev/shm") if name.startswith("torch_"))


def _is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_ranks_die_with_their_launcher(trainer: Trainer) -> None:
    launcher = trainer.start(*_LONG, ranks=2)
    _wait_for(trainer, 12)
    ranks = psutil.Process(launcher.pid).children(recursive=True)
    assert len(ranks) >= 2
    launcher.send_signal(signal.SIGKILL)
    launcher.communicate()
    deadline = time.monotonic() + 10
    while any(_is_alive(rank) for rank in ranks):
        assert time.monotonic() < deadline, "a rank outlived torchrun"
        time.sleep(0.05)


def test_losing_a_rank_ends_the_job_and_the_run_goes_on(trainer: Trainer) -> None:
    launcher = trainer.start(*_LONG, ranks=2)
    _wait_for(trainer, 12)
    ranks = [item for item in psutil.Process(launcher.pid).children() if "train" in item.cmdline()]
    os.kill(ranks[-1].pid, signal.SIGKILL)
    launcher.communicate(timeout=120)
    assert launcher.returncode != 0
    steps = trainer.rows()[-1]["step"]
    rows = trainer.train(*_LONG, f"train.steps={steps + 5}", ranks=2)
    assert [row["step"] for row in rows if "probe" not in row] == list(range(1, steps + 6))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_saves_the_step_and_asks_to_be_tried_again(number: signal.Signals, trainer: Trainer) -> None:
    process = trainer.start(*_LONG, "data.workers=1", "checkpoint.every=1000", ranks=0)
    _wait_for(trainer, 12)
    os.killpg(process.pid, number)  # as a scheduler does: to every process of the job
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "Traceback" not in output
    (step,) = re.findall(rf"stopped after step (\d+), which is saved: {number.name} was received", output)
    assert trainer.rows()[-1]["step"] == int(step)
    rows = trainer.train(*_LONG, "checkpoint.every=1000", f"train.steps={int(step) + 3}", ranks=0)
    assert [row["step"] for row in rows if "probe" not in row] == list(range(1, int(step) + 4))


def test_an_interrupted_run_equals_one_that_was_not(trainer: Trainer) -> None:
    common = ["engine.zero=2", "batch.global=8", "batch.micro=2", "checkpoint.every=1000", "probes.validation.every=5"]
    whole = trainer.train(*common, "train.steps=25", ranks=2, run="whole")
    launcher = trainer.start(*common, "train.steps=25", ranks=2)
    _wait_for(trainer, 3)
    (rank, *_) = [item for item in psutil.Process(launcher.pid).children() if "train" in item.cmdline()]
    rank.send_signal(signal.SIGUSR1)  # one rank alone: the others agree
    output, _ = launcher.communicate(timeout=120)
    assert "exitcode  : 75" in output
    rows = trainer.train(*common, "train.steps=25", ranks=2)
    exact = ("step", "probe", "loss", "grad_norm", "targets", "bits_per_byte", "data_digest")
    assert [{key: row.get(key) for key in exact} for row in rows] == [
        {key: row.get(key) for key in exact} for row in whole
    ]


def test_a_time_limit_does_the_same(trainer: Trainer) -> None:
    process = trainer.start(*_LONG, "train.time_limit_s=2", ranks=0)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 75
    assert "train.time_limit_s is over" in output


def test_a_probe_is_given_up_and_taken_again(trainer: Trainer) -> None:
    # Held-out data a thousand times over: the probe after step 1 would take minutes.
    slow = ["probes.validation.every=1", "probes.validation.before=false", "batch.micro=1"]
    source = f"data.validation.shards={trainer.corpus}/train-*.tar"
    process = trainer.start(*_LONG, *slow, source, "probes.validation.rows=null", ranks=0)
    deadline = time.monotonic() + 120
    while not trainer.rows():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75, output
    (step,) = map(int, re.findall(r"stopped after step (\d+), which", output))
    given_up = not any(row.get("probe") == "validation" and row["step"] == step for row in trainer.rows())
    rows = trainer.train(*_LONG, *slow, f"train.steps={step}", ranks=0)
    assert [row["step"] for row in rows if row.get("probe") == "validation"].count(step) == 1
    assert given_up


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_loader_processes_end_with_the_training(stop: signal.Signals, trainer: Trainer) -> None:
    before = _shared_memory()
    process = trainer.start(*_LONG, "data.workers=2", ranks=0)
    _wait_for(trainer, 12)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) >= 2
    if stop == signal.SIGINT:
        os.killpg(process.pid, stop)  # as a terminal does: to every process of the job
    else:
        process.send_signal(stop)
    output, _ = process.communicate(timeout=60)
    assert "Traceback" not in output
    deadline = time.monotonic() + 20
    while any(_is_alive(worker) for worker in workers):
        assert time.monotonic() < deadline, "a loader process outlived the training"
        time.sleep(0.05)
    assert _shared_memory() == before


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("engine.zero=2", 2), ("engine.zero=2", 1)),
        (("engine.zero=3", 2), ("engine.zero=1", 4)),
        (("engine.zero=1", 4), ("engine.zero=3", 2)),
        (("engine.kind=accelerate", 0), ("engine.zero=3", 2)),
        (("engine.zero=3", 2), ("engine.kind=accelerate", 0)),
    ],
)
def test_another_world_and_engine_go_on(
    first: tuple[str, int], second: tuple[str, int], shared_trainer: Trainer
) -> None:
    common = ["batch.global=8", "batch.micro=2", "checkpoint.every=10"]
    if not shared_trainer.rows("whole"):
        shared_trainer.train("engine.kind=accelerate", *common, "train.steps=20", ranks=0, run="whole")
    whole = [row for row in shared_trainer.rows("whole") if "probe" not in row]
    run = f"{first}-{second}".replace("'", "").replace(" ", "")
    shared_trainer.train(first[0], *common, "train.steps=10", ranks=first[1], run=run)
    rows = shared_trainer.train(second[0], *common, "train.steps=20", ranks=second[1], run=run)
    found = [row for row in rows if "probe" not in row]
    assert [row["data_digest"] for row in found] == [row["data_digest"] for row in whole]
    assert [row["loss"] for row in found] == pytest.approx([row["loss"] for row in whole], rel=1e-5)


def test_kill_while_saving_never_loses_the_run(trainer: Trainer) -> None:
    """Checkpoints at every step, SIGKILL at ten moments; every start goes on from a whole checkpoint."""
    saving = ["train.steps=100000", "checkpoint.every=1", "checkpoint.keep_last=2", "batch.global=4", "batch.micro=4"]
    reached = 0
    for moment in range(10):
        process = trainer.start(*saving, "engine.kind=accelerate", ranks=0)
        _wait_for(trainer, reached + 3)
        time.sleep(0.013 * moment)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        reached = trainer.rows()[-1]["step"]
        assert (Path(trainer.folder) / "run" / "checkpoints" / "latest").exists()
    rows = trainer.train(*saving, "engine.kind=accelerate", f"train.steps={reached + 2}", ranks=0)
    assert [row["step"] for row in rows if "probe" not in row] == list(range(1, reached + 3))
