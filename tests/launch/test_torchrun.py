"""launch/torchrun.sh, with an interpreter that prints how it is called."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT


def _called(folder: Path, **variables: str) -> tuple[str, list[str]]:
    """The threads of a rank, and the arguments of python."""
    echo = folder / "echo"
    echo.write_text('#!/bin/sh\necho "$OMP_NUM_THREADS"\nprintf "%s\\n" "$@"\n')
    echo.chmod(0o755)
    environment = {"PYTHON": str(echo), "PATH": f"{folder}:/usr/bin:/bin"} | variables
    command = [str(ROOT / "launch" / "torchrun.sh"), "recipe.yaml", "a=[1, 2]"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    threads, *arguments = done.stdout.splitlines()
    assert arguments[-4:] == ["-m", "train", "recipe.yaml", "a=[1, 2]"]
    return threads, arguments[:-4]


def test_without_gpus_there_is_one_rank_with_all_cores(tmp_path: Path) -> None:
    threads, arguments = _called(tmp_path)
    assert threads == str(len(os.sched_getaffinity(0)))
    assert arguments == ["-m", "launch.agent", "--nproc-per-node", "1"]


def test_variables_become_flags_of_torchrun(tmp_path: Path) -> None:
    place = {"NNODES": "2", "NODE_RANK": "0", "MASTER_ADDR": "node0", "MASTER_PORT": "29500", "NPROC_PER_NODE": "64"}
    threads, arguments = _called(tmp_path, **place)
    assert threads == str(max(1, len(os.sched_getaffinity(0)) // 64))
    assert " ".join(arguments[2:]) == (
        "--nproc-per-node 64 --nnodes 2 --node-rank 0 --master-addr node0 --master-port 29500"
    )
    place = {"NNODES": "2", "RDZV_BACKEND": "c10d", "RDZV_ENDPOINT": "node0:29500", "RDZV_ID": "job7"}
    _, arguments = _called(tmp_path, **place, OMP_NUM_THREADS="3")
    assert " ".join(arguments[4:]) == "--nnodes 2 --rdzv-backend c10d --rdzv-endpoint node0:29500 --rdzv-id job7"


@pytest.mark.parametrize(
    ("said", "visible", "ranks"),
    [
        ("GPU 0: NVIDIA X\nGPU 1: NVIDIA X", None, "2"),
        ("GPU 0: NVIDIA X\nGPU 1: NVIDIA X", "1", "1"),
        ("GPU 0: NVIDIA X\nGPU 1: NVIDIA X", "", "1"),
        ("GPU 0: NVIDIA X", "4,5,6,7", "4"),
        ("NVIDIA-SMI has failed because it couldn't communicate with the driver.", None, "1"),
    ],
)
def test_there_is_a_rank_for_each_visible_gpu(tmp_path: Path, said: str, visible: str | None, ranks: str) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\n")
    driver.chmod(0o755)
    _, arguments = _called(tmp_path, **({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}))
    assert arguments[2:4] == ["--nproc-per-node", ranks]
