"""A claim measured with real runs: stopped, continued, judged."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, Trainer

pytestmark = pytest.mark.processes


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "launch.cli", "reproduce", *arguments]


def test_a_claim_is_trained_judged_and_goes_on_where_it_was_stopped(trainer: Trainer, tmp_path: Path) -> None:
    recipe, _, *overrides = trainer.arguments("engine.kind=accelerate", "checkpoint.every=100", "train.steps=60")
    paper = {
        "title": "Training helps",
        "authors": "Everybody",
        "year": 2026,
        "url": "https://example.org",
        "claim": "A model that learns predicts better.",
        "recipe": recipe,
        "overrides": overrides,
        "minutes": 1,
        "arms": {"still": ["optimizer.lr=1e-9"], "learning": []},
        "seeds": [0, 1],
        "figures": {"loss": {"probe": "validation", "key": "loss"}},
        "comparisons": [
            {"figure": "loss", "arm": "learning", "baseline": "still", "at_most": -0.2},
            {"figure": "loss", "arm": "still", "baseline": "learning", "at_most": 0.0},
        ],
    }
    path, out = tmp_path / "helps.yaml", tmp_path / "papers"
    path.write_text(yaml.safe_dump(paper))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command(str(path), "--out", str(out)), env=environment, cwd=tmp_path)
    first = out / "helps" / "still-seed0" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (first.exists() and '"step": 3,' in first.read_text()):
        assert time.monotonic() < deadline, "it did not begin in time"
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    done = subprocess.run(
        command(str(path), "--out", str(out), "--json"), env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    # Not a terminal: a line for every run that there was still to train, no bar.
    assert re.search(r"^still, seed 0: step [1-9]\d* of 60$", done.stderr, re.MULTILINE)
    assert "\r" not in done.stderr
    found = json.loads(done.stdout)
    assert [item["word"] for item in found["comparisons"]] == ["holds", "does not hold"]
    starts = json.loads((first.parent / "environment.json").read_text())["starts"]
    assert [start["step"] > 0 for start in starts] == [False, True]
    assert {path.name for path in (out / "helps").iterdir()} >= {"result.json", "plot.svg", "page.md"}
    began = time.monotonic()
    again = subprocess.run(command(str(path), "--out", str(out)), env=environment, cwd=tmp_path, capture_output=True)
    assert again.returncode == 3
    assert time.monotonic() - began < 30  # nothing is trained twice


def test_a_run_that_fails_is_named_with_its_last_words(trainer: Trainer, tmp_path: Path) -> None:
    recipe, _, *overrides = trainer.arguments("engine.kind=accelerate", "data.train.shards=nowhere.tar")
    paper = {
        "title": "t",
        "authors": "a",
        "year": 2026,
        "url": "u",
        "claim": "c",
        "recipe": recipe,
        "minutes": 1,
        "overrides": overrides,
        "arms": {"one": [], "two": []},
        "figures": {"loss": {"key": "loss"}},
        "comparisons": [{"figure": "loss", "arm": "one", "baseline": "two", "at_most": 0}],
    }
    path = tmp_path / "fails.yaml"
    path.write_text(yaml.safe_dump(paper))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command(str(path)), env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "one, seed 0: ended with exit code 2" in done.stderr
    assert "nowhere.tar" in done.stderr
    assert "Traceback" not in done.stderr
