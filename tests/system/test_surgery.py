"""A fine-tuning that is killed and resumed is the one that was never interrupted; its export is a plain model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml
from safetensors.torch import load_file

from model.surgery.lora import adapted
from tests.conftest import Trainer
from tests.system.test_exactness import _of_step
from train.inference import TrainedModel

pytestmark = pytest.mark.processes

_ENGINES = {"zero 2": "engine.zero=2", "zero 3": "engine.zero=3"}
_OVERRIDES = ["train.steps=24", "checkpoint.every=4", "batch.global=8", "batch.micro=2"]


@pytest.fixture(scope="module")
def pretrained(shared_trainer: Trainer) -> Path:
    """A run to start from."""
    shared_trainer.train("train.steps=10", "checkpoint.every=10", "engine.kind=accelerate", ranks=0, run="pretrained")
    return shared_trainer.folder / "pretrained"


def edits(source: Path) -> str:
    surgery = [
        {"kind": "load", "path": str(source)},
        {"kind": "freeze", "select": ["**", "!**@norm"]},
        {"kind": "lora", "select": "**.mixer.[qv]*", "rank": 4, "alpha": 8.0},
    ]
    return f"surgery={json.dumps(surgery)}"


@pytest.mark.parametrize("engine", _ENGINES)
def test_killed_and_resumed_equals_uninterrupted_without_the_source(
    engine: str, trainer: Trainer, pretrained: Path
) -> None:
    source = trainer.folder / "source"
    source.symlink_to(pretrained)
    overrides = [_ENGINES[engine], edits(source), *_OVERRIDES]
    whole = trainer.train(*overrides, ranks=2, run="whole")
    trainer.kill_after(9, *overrides, ranks=2, run="killed")
    assert not any(row["step"] == 24 for row in trainer.rows("killed")), "it was not killed in time"
    source.unlink()
    resumed = trainer.train(*overrides, ranks=2, run="killed")
    keys = ("loss", "grad_norm", "lr", "data_digest")
    assert _of_step(resumed, *keys) == _of_step(whole, *keys)
    first = next(row for row in whole if row.get("probe") == "validation")
    last = [row for row in trainer_rows(pretrained) if row.get("probe") == "validation"][-1]
    assert first["loss"] == pytest.approx(last["loss"], rel=1e-4), "it did not start from the pretrained weights"


def trainer_rows(run: Path) -> list[dict[str, float | str]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_export_merges_and_the_start_is_reported(
    trainer: Trainer, pretrained: Path, polytrain: Callable[..., CompletedProcess[str]]
) -> None:
    run = trainer.folder / "tuned"
    code, output = trainer.fails(f"run={run}", edits(pretrained), "engine.kind=accelerate", "train.steps=10")
    assert code == 0, output
    assert f"{pretrained}: 20 of 20 parameters loaded" in output
    assert "of them trained" in output
    assert len(list(adapted(TrainedModel.of_run(run).objective))) == 4
    for number, folder in enumerate((pretrained, run)):
        done = polytrain("export", str(folder), str(trainer.folder / f"exported-{number}"))
        assert done.returncode == 0, done.stderr
    before, after = (load_file(trainer.folder / f"exported-{number}/model.safetensors") for number in (0, 1))
    assert before.keys() == after.keys()
    moved = {name for name in before if not before[name].equal(after[name])}
    assert {name.split(".")[-2] for name in moved} >= {"q_proj", "v_proj"}
    assert all("q_proj" in name or "v_proj" in name or "norm" in name for name in moved)
    assert yaml.safe_load((run / "config.yaml").read_text())["surgery"][0]["path"] == str(pretrained)
