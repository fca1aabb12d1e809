"""bf16, activation checkpointing and compilation under real engines: they train, and they resume exactly."""

from __future__ import annotations

import pytest

from tests.conftest import Trainer

pytestmark = pytest.mark.processes

_SHORT = ["batch.global=4", "batch.micro=1", "checkpoint.every=2"]


@pytest.mark.parametrize("engine", ["kind=accelerate", "zero=0", "zero=1", "zero=2", "zero=3"])
def test_bf16_resumes_exactly(engine: str, trainer: Trainer) -> None:
    overrides = [f"engine.{engine}", "precision=bf16", *_SHORT]
    whole = trainer.train(*overrides, "train.steps=4", ranks=2, run="whole")
    trainer.train(*overrides, "train.steps=2", ranks=2)
    resumed = trainer.train(*overrides, "train.steps=4", ranks=2)
    for key in ("loss", "grad_norm"):
        assert [row[key] for row in resumed if "lr" in row] == [row[key] for row in whole if "lr" in row]
    losses = [row["loss"] for row in whole if "lr" in row]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("engine", ["engine.kind=accelerate", "engine.zero=3"])
def test_recomputation_changes_nothing(engine: str, trainer: Trainer) -> None:
    plain = trainer.train(engine, "train.steps=3", *_SHORT, ranks=2, run="plain")
    recomputed = trainer.train(engine, "train.steps=3", "train.recompute=blocks", *_SHORT, ranks=2)
    found = [row["loss"] for row in recomputed if "lr" in row]
    assert found == pytest.approx([row["loss"] for row in plain if "lr" in row], rel=1e-6)


def test_compiled_blocks_train_alike(trainer: Trainer) -> None:
    plain = trainer.train("engine.zero=2", "train.steps=3", *_SHORT, ranks=2, run="plain")
    compiled = trainer.train("engine.zero=2", "train.steps=3", "train.compile=true", *_SHORT, ranks=2)
    found = [row["loss"] for row in compiled if "lr" in row]
    assert found == pytest.approx([row["loss"] for row in plain if "lr" in row], rel=1e-5)


def test_compile_with_zero_3_is_refused(trainer: Trainer) -> None:
    code, output = trainer.fails("engine.zero=3", "train.steps=3", "train.compile=true", *_SHORT, ranks=0)
    assert code == 2
    assert "train.compile" in output
