"""The benchmark of what 8 bits change at fixed weights."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT, Trainer

pytestmark = pytest.mark.processes


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.rounding", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_finer_scales_and_more_bits_are_nearer_to_float32(trainer: Trainer) -> None:
    trainer.train("engine.kind=accelerate", "train.steps=8", ranks=0)
    done = run(str(trainer.folder / "run"), "--rows", "12", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["form"]: row for row in json.loads(done.stdout)}
    apart = {form: row["gradient_median"] for form, row in rows.items()}
    assert apart.pop("float32") == 0 < min(apart.values())
    assert apart["8 bits, 32 x 32"] < apart["8 bits, matrices"]
    assert apart["8 bits, 32 x 32"] < apart["6 bits, 32 x 32"] < apart["4 bits, 32 x 32"] < apart["4 bits, matrices"]
    assert abs(rows["8 bits, 32 x 32"]["difference"]) < 0.005


def test_a_folder_that_is_no_run_is_named() -> None:
    done = run("nowhere")
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr
