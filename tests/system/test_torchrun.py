"""launch/torchrun.sh: the exit code and the signals of the training come through, on one node and on two."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

from tests.conftest import ROOT, Trainer
from tests.system.slurm import wait_until

pytestmark = pytest.mark.processes

_LONG = ["train.steps=100000", "checkpoint.every=1000", "batch.global=8", "batch.micro=2", "engine.kind=accelerate"]


def _start(trainer: Trainer, *overrides: str, **variables: str) -> subprocess.Popen[str]:
    ours = {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [str(ROOT / "launch" / "torchrun.sh"), *trainer.arguments(*_LONG, *overrides)],
        env=os.environ | ours | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def _is_open(port: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_the_launcher_alone_saves_and_asks_to_be_tried_again(
    number: signal.Signals, trainer: Trainer
) -> None:
    launcher = _start(trainer, NPROC_PER_NODE="2")
    wait_until(lambda: any(row["step"] >= 3 for row in trainer.rows()))
    launcher.send_signal(number)
    output, _ = launcher.communicate(timeout=60)
    assert launcher.returncode == 75, output
    assert "Traceback" not in output
    assert f"which is saved: {number.name} was received" in output
    assert (trainer.folder / "run" / "checkpoints" / "latest").exists()


def test_a_users_error_keeps_its_exit_code(trainer: Trainer) -> None:
    launcher = _start(trainer, "model.dim=wide", NPROC_PER_NODE="2")
    output, _ = launcher.communicate(timeout=60)
    assert launcher.returncode == 2, output
    assert output.count("model.dim: input should be a valid integer") == 1
    assert "Traceback" not in output


def test_a_launcher_that_waits_for_others_can_be_ended(trainer: Trainer) -> None:
    port = _free_port()
    place = {"NNODES": "2", "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NPROC_PER_NODE": "1"}
    launcher = _start(trainer, **place)
    wait_until(lambda: _is_open(port))
    launcher.send_signal(signal.SIGTERM)
    launcher.communicate(timeout=20)
    assert launcher.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize("rendezvous", ["static", "c10d"])
def test_two_nodes_leave_with_the_code_that_the_scheduler_wants(rendezvous: str, trainer: Trainer) -> None:
    port = _free_port()
    common = {"NNODES": "2", "NPROC_PER_NODE": "1", "POLYTRAIN_EXIT_TRY_AGAIN": "138"}
    if rendezvous == "static":
        nodes = [{"NODE_RANK": str(node), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port} for node in range(2)]
    else:
        nodes = [{"RDZV_BACKEND": "c10d", "RDZV_ENDPOINT": f"127.0.0.1:{port}", "RDZV_ID": "job"}] * 2
    launchers = [_start(trainer, "train.time_limit_s=1", **common, **node) for node in nodes]
    outputs = [launcher.communicate(timeout=120)[0] for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [138, 138], outputs
    assert sum("which is saved: train.time_limit_s is over" in output for output in outputs) == 1
