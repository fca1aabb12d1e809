"""A real SLURM: two nodes train, preempted and timed-out jobs go on exactly, failures end a job, sweeps are arrays."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import Trainer
from tests.system.slurm import Slurm, slurm, wait_until

__all__ = ["slurm"]

pytestmark = pytest.mark.processes

_STEPS = 200
_COMMON = (
    "engine.kind=accelerate",
    "batch.global=8",
    "batch.micro=2",
    "checkpoint.every=1000",
    "train.steps=200",
)
_EXACT = ("step", "probe", "loss", "grad_norm", "targets", "bits_per_byte", "data_digest")


def _exact(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: row.get(key) for key in _EXACT} for row in rows]


def _log(folder: Path) -> str:
    return "".join(f"==> {path.name} <==\n{path.read_text()}" for path in sorted(folder.glob("*")))


def _has_reached(trainer: Trainer, step: int, run: str) -> Callable[[], bool]:
    return lambda: any(row["step"] >= step for row in trainer.rows(run))


@pytest.fixture(scope="module")
def whole(slurm: Slurm, shared_trainer: Trainer) -> list[dict[str, Any]]:
    """The rows of a run on two nodes that nothing interrupts."""
    logs = shared_trainer.folder / "whole.logs"
    arguments = shared_trainer.arguments(*_COMMON, f"run={shared_trainer.folder}/whole")
    job = slurm.submit("-N2", arguments=arguments, logs=logs)
    assert slurm.end_of(job) == ("COMPLETED", 0), _log(logs)
    assert "accelerate, 2 rank(s) on cpu" in _log(logs)
    return shared_trainer.rows("whole")


def test_two_nodes_train(whole: list[dict[str, Any]], shared_trainer: Trainer) -> None:
    assert [row["step"] for row in whole if "probe" not in row] == list(range(1, _STEPS + 1))
    starts = json.loads((shared_trainer.folder / "whole" / "environment.json").read_text())["starts"]
    assert [start["world_size"] for start in starts] == [2]


_INTERRUPTIONS = {
    "requeue": ("scontrol", "requeue", "{job}"),
    "time": ("scancel", "--signal=USR1", "{job}"),
    "preemption": ("sbatch", "--partition=urgent", "-N2", "--exclusive", "--output=/dev/null", "--wrap=true"),
}


@pytest.mark.parametrize("run", _INTERRUPTIONS)
def test_a_job_that_is_interrupted_goes_on_exactly(
    run: str, whole: list[dict[str, Any]], slurm: Slurm, shared_trainer: Trainer
) -> None:
    """By hand, by the signal that --signal sends before the time is up, by a job of higher priority."""
    logs = shared_trainer.folder / f"{run}.logs"
    arguments = shared_trainer.arguments(*_COMMON, f"run={shared_trainer.folder}/{run}")
    job = slurm.submit("-N2", arguments=arguments, logs=logs)
    wait_until(_has_reached(shared_trainer, 5, run))
    slurm.call(*(word.format(job=job) for word in _INTERRUPTIONS[run]))
    wait_until(lambda: slurm.facts(job)["Restarts"] == "1")
    assert slurm.end_of(job) == ("COMPLETED", 0), _log(logs)
    starts = json.loads((shared_trainer.folder / run / "environment.json").read_text())["starts"]
    assert [start["step"] > 0 for start in starts] == [False, True], _log(logs)
    assert _exact(shared_trainer.rows(run)) == _exact(whole)


def test_a_rank_that_dies_ends_the_job(slurm: Slurm, trainer: Trainer) -> None:
    logs = trainer.folder / "logs"
    job = slurm.submit("-N2", arguments=trainer.arguments(*_COMMON, "train.steps=100000"), logs=logs, SLURM_WAIT="5")
    wait_until(_has_reached(trainer, 3, "run"))
    run = f"run={trainer.folder}/run"
    ranks = [item for item in psutil.process_iter(["cmdline"]) if {"train", run} <= set(item.info["cmdline"] or [])]
    last = next(item for item in ranks if item.environ().get("RANK") == "1" and "launch.agent" not in item.cmdline())
    last.send_signal(signal.SIGKILL)
    state, code = slurm.end_of(job)
    assert state == "FAILED"
    assert code not in (0, 75)
    assert slurm.facts(job)["Restarts"] == "0"
    assert f"Signal 9 (SIGKILL) received by PID {last.pid}" in _log(logs)


def test_a_users_error_is_in_the_log_and_is_the_exit_code(slurm: Slurm, trainer: Trainer) -> None:
    logs = trainer.folder / "logs"
    job = slurm.submit("-N1", arguments=trainer.arguments(*_COMMON, "model.dim=wide"), logs=logs)
    assert slurm.end_of(job) == ("FAILED", 2)
    assert "model.dim: input should be a valid integer" in _log(logs)


def test_one_task_per_rank(slurm: Slurm, trainer: Trainer) -> None:
    logs = trainer.folder / "logs"
    arguments = trainer.arguments("engine.zero=2", "batch.global=8", "batch.micro=2", "train.steps=3")
    job = slurm.submit("-N2", arguments=arguments, logs=logs, LAUNCH="tasks")
    assert slurm.end_of(job) == ("COMPLETED", 0), _log(logs)
    assert "deepspeed zero=2, 2 rank(s) on cpu" in (logs / f"polytrain-{job}-rank0.log").read_text()
    assert trainer.rows()[-1]["step"] == 3


def test_a_sweep_is_an_array_of_runs(slurm: Slurm, trainer: Trainer) -> None:
    def polytrain(*arguments: str) -> str:
        return slurm.call(sys.executable, "-m", "launch.cli", "launch", *arguments, cwd=trainer.folder)

    run = f"{trainer.folder}/run"
    sweep = ["--sweep", "seed=0,1,2", "--nodes", "1", "--time", "10", "--setup", str(slurm.setup)]
    polytrain("slurm", *trainer.arguments(*_COMMON, "train.steps=3"), *sweep)

    def table() -> list[dict[str, Any]]:
        return json.loads(polytrain("status", run, "--json"))

    wait_until(lambda: [row["state"] for row in table()] == ["COMPLETED"] * 3)
    assert [Path(row["run"]).name for row in table()] == [f"00{seed}-seed={seed}" for seed in range(3)]
    assert [row["step"] for row in table()] == [3] * 3
    losses = {row["loss"] for row in table()}
    assert len(losses) == 3
    assert polytrain("logs", run).count("exit code 0") == 3


def test_a_cancelled_job_has_saved_and_stays_away(slurm: Slurm, trainer: Trainer) -> None:
    run = f"{trainer.folder}/run"
    command = [sys.executable, "-m", "launch.cli", "launch"]
    flags = ["--setup", str(slurm.setup), "--ranks-per-node", "2", "--sbatch", "cpus-per-task=2"]
    slurm.call(*command, "slurm", *trainer.arguments(*_COMMON, "train.steps=100000"), *flags)
    wait_until(_has_reached(trainer, 3, "run"))
    (job,) = json.loads(slurm.call(*command, "status", run, "--json"))
    slurm.call(*command, "cancel", run)
    assert slurm.end_of(job["job"])[0] == "CANCELLED"
    wait_until(lambda: "is saved: SIGTERM was received" in _log(Path(f"{run}.slurm")))
    assert (Path(run) / "checkpoints" / "latest").exists()
    assert slurm.facts(job["job"])["Restarts"] == "0"
