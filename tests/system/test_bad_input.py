"""Bad input: one message on stderr, exit code 2, and a run folder that is as it was."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Trainer
from tests.train.metrics_page import documented_keys
from train.checkpoint import Checkpoint, Checkpoints
from train.world import World

pytestmark = pytest.mark.processes

_ONE = ["engine.kind=accelerate", "train.steps=4", "checkpoint.every=2", "batch.global=4", "batch.micro=4"]


def _bytes_of(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.dmi=64", ["model.dmi", "did you mean 'dim'"]),
        ("train.steps=ten", ["train.steps", "'ten'"]),
        ("engine.kind=deepspede", ["engine", "did you mean 'deepspeed'"]),
        ("batch.micro=3", ["batch.micro=3", "would fit"]),
        ("data.train.shards=nowhere/*.tar", ["nowhere/*.tar", "polytrain pack"]),
        ("data.tokenizer=nowhere.json", ["nowhere.json", "data.tokenizer"]),
        ("model.embedder.vocab_size=100", ["model.embedder.vocab_size"]),
        ("run=/proc/nowhere", ["run=/proc/nowhere", "cannot be written"]),
        ("data.train.length=100000000", ["data.train.length", "model.embedder.max_length"]),
    ],
)
def test_wrong_values_are_named_with_exit_code_2(override: str, expected: list[str], trainer: Trainer) -> None:
    code, output = trainer.fails(*_ONE, override)
    assert code == 2, output
    for text in expected:
        assert text in output
    assert "Traceback" not in output
    assert output.count("polytrain: error:") == 1
    assert not (trainer.folder / "run").exists()


def test_debug_shows_the_traceback(trainer: Trainer) -> None:
    code, output = trainer.fails(*_ONE, "model.dmi=64", "--debug")
    assert code == 1
    assert "Traceback" in output


def test_the_run_folder_of_another_recipe_is_refused_and_untouched(trainer: Trainer) -> None:
    trainer.train(*_ONE, ranks=0)
    before = _bytes_of(trainer.folder / "run")
    for override in ("model.num_layers=1", "seed=1", "optimizer.lr=1.0", "train.steps=2"):
        code, output = trainer.fails(*_ONE, override)
        assert code == 2, output
        assert override.split("=")[0] in output
        assert _bytes_of(trainer.folder / "run") == before


def test_a_checkpoint_of_another_model_is_refused_and_untouched(trainer: Trainer) -> None:
    trainer.train(*_ONE, ranks=0, run="other")
    trainer.train(*_ONE, "model.num_layers=1", ranks=0, run="run")
    run = trainer.folder / "run"
    shutil.rmtree(run / "checkpoints")
    shutil.copytree(trainer.folder / "other" / "checkpoints", run / "checkpoints")
    before = _bytes_of(run)
    code, output = trainer.fails(*_ONE, "model.num_layers=1")
    assert code == 2
    assert "a checkpoint of another model" in output
    assert "transformer.blocks.1" in output
    assert _bytes_of(run) == before


def test_a_foreign_folder_is_refused_and_untouched(trainer: Trainer) -> None:
    foreign = trainer.folder / "run"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("three years of work")
    code, output = trainer.fails(*_ONE)
    assert code == 2
    assert "not a run folder" in output
    assert _bytes_of(foreign) == {"thesis.tex": hashlib.sha256(b"three years of work").hexdigest()}


def test_other_data_are_refused(trainer: Trainer) -> None:
    trainer.train(*_ONE, ranks=0)
    code, output = trainer.fails(*_ONE, "train.steps=6", f"data.train.shards={trainer.corpus}/validation-*.tar")
    assert code == 2
    assert "trained on other data" in output


def test_a_damaged_checkpoint_is_passed_over(trainer: Trainer) -> None:
    whole = trainer.train(*_ONE, "train.steps=6", ranks=0, run="whole")
    trainer.train(*_ONE, ranks=0)
    newest = trainer.folder / "run" / "checkpoints" / "step-00000004" / "rank-00000.safetensors"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    code, output = trainer.fails(*_ONE, "train.steps=6")
    assert code == 0, output
    assert "damaged checkpoint passed over" in output
    assert "resuming from step 2" in output
    losses = [row["loss"] for row in trainer.rows() if "probe" not in row]
    assert losses == [row["loss"] for row in whole if "probe" not in row]


def test_a_second_training_in_the_same_folder_is_refused(trainer: Trainer) -> None:
    first = trainer.start(*_ONE, "train.steps=100000", ranks=0)
    try:
        while not trainer.rows():
            assert first.poll() is None
        code, output = trainer.fails(*_ONE, "train.steps=100000")
        assert code == 2
        assert "another process is training" in output
    finally:
        first.kill()
        first.communicate()


@pytest.mark.parametrize("engine", [[], ["engine.kind=deepspeed", "engine.zero=2"]], ids=["accelerate", "zero=2"])
def test_divergence_stops_the_run_and_is_never_saved(engine: list[str], trainer: Trainer) -> None:
    code, output = trainer.fails(*_ONE, *engine, "optimizer.lr=1e30", "checkpoint.every=1")
    assert code == 2, output
    assert "training has diverged" in output
    assert "Traceback" not in output
    checkpoints = Checkpoints(trainer.folder / "run" / "checkpoints", World())
    for folder in checkpoints.steps():
        assert all(bool(weight.isfinite().all()) for weight in Checkpoint(folder).weights().values())


@pytest.mark.parametrize("late", [0, 1])
def test_under_torchrun_the_message_is_said_once(
    late: int, trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = tmp_path / "start"
    start.mkdir()
    (start / "sitecustomize.py").write_text(
        f"import os, time\nif os.environ.get('RANK') == '{late}':\n    time.sleep(3)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(start))
    code, output = trainer.fails(*_ONE, "batch.micro=3", ranks=2)
    assert code == 1  # torchrun's own
    assert output.count("polytrain: error:") == 1


def test_rows_of_metrics_have_the_documented_keys(trainer: Trainer) -> None:
    rows = trainer.train(*_ONE, ranks=0)
    keys = documented_keys()
    assert [list(row) for row in rows if "probe" not in row] == [keys] * 4
    run = trainer.folder / "run"
    assert (run / "checkpoints" / "latest").read_text().strip() == "step-00000004"
    assert json.loads((run / "environment.json").read_text())["packages"]["torch"]
