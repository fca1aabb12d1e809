"""The benchmark of 8-bit operators, where it can measure nothing: it says so, and its script runs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from tests.conftest import ROOT


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.int8", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_nothing_is_measured() -> None:
    done = run()
    assert done.returncode == 2
    assert done.stdout == ""
    assert "no CUDA device" in done.stderr


def test_the_script_times_every_operator_by_every_contender() -> None:
    done = run("--device", "cpu", "--width", "64", "--tokens", "64", "--rounds", "2", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row.pop("operator"): row for row in json.loads(done.stdout)["rows"]}
    operators = ["linear", "layer norm", "rms norm", "gelu", "swiglu", "dropout", "addition", "3 ways"]
    assert list(rows) == [*operators, "block"]
    for row in rows.values():
        assert set(row) == {"bf16", "bf16 compiled", "int8"}
        assert all(0 < least <= median <= most for least, median, most in row.values())
