"""precision=int8 in real trainings: every engine, killed and resumed, and checkpoints of one precision in another."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Trainer

pytestmark = pytest.mark.processes

_COMMON = ("precision=int8", "batch.global=8", "batch.micro=2")


def _learned(rows: list[dict[str, Any]], first: int = 1) -> list[float]:
    """Losses and gradient norms."""
    steps = [row for row in rows if "probe" not in row and row["step"] >= first]
    return [row[key] for row in steps for key in ("loss", "grad_norm")]


def test_every_engine_takes_the_same_steps(shared_trainer: Trainer) -> None:
    """Random rounding follows from the step and the rank, not from the engine; sums are in other orders."""
    overrides = (*_COMMON, "train.steps=6", "checkpoint.every=100")
    expected = _learned(shared_trainer.train(*overrides, "engine.kind=accelerate", ranks=2, run="ddp"))
    for zero in (0, 1, 2, 3):
        rows = shared_trainer.train(*overrides, f"engine.zero={zero}", ranks=2, run=f"zero{zero}")
        assert _learned(rows) == pytest.approx(expected, rel=1e-5), zero


def test_a_killed_run_goes_on_exactly(trainer: Trainer) -> None:
    overrides = (*_COMMON, "engine.zero=3", "train.steps=12", "checkpoint.every=3")
    whole = trainer.train(*overrides, ranks=2, run="whole")
    trainer.kill_after(5, *overrides, ranks=2, run="cut")
    assert _learned(trainer.train(*overrides, ranks=2, run="cut")) == _learned(whole)


def test_checkpoints_are_those_of_any_precision(trainer: Trainer) -> None:
    overrides = ("engine.kind=accelerate", "batch.global=8", "checkpoint.every=4", "log.saved_bytes=true")
    plain = trainer.train(*overrides, "train.steps=8", ranks=0, run="plain")
    for first, then in (("float32", "int8"), ("int8", "float32")):
        run = f"{first}-{then}"
        trainer.train(*overrides, f"precision={first}", "train.steps=4", ranks=0, run=run)
        rows = trainer.train(*overrides, f"precision={then}", "train.steps=8", ranks=0, run=run)
        # The tiny model hardly notices; another model's weights would be another loss altogether.
        assert _learned(rows, 5) == pytest.approx(_learned(plain, 5), rel=0.01)
        assert _learned(rows, 5) != _learned(plain, 5)
        saved = {row["step"]: row["saved_bytes"] for row in rows if "saved_bytes" in row}
        assert saved.keys() == {1, 5}
        assert (saved[1] > saved[5]) == (first == "float32")
