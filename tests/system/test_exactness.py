"""A run that is killed and resumed is the run that was never interrupted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Trainer

pytestmark = pytest.mark.processes

_ENGINES = {
    "accelerate on 1": (["engine.kind=accelerate"], 0),
    "ddp on 2": (["engine.kind=accelerate"], 2),
    "zero 1 on 2": (["engine.zero=1"], 2),
    "zero 2 on 2": (["engine.zero=2"], 2),
    "zero 3 on 2": (["engine.zero=3"], 2),
}
_OVERRIDES = ["train.steps=60", "checkpoint.every=10", "batch.global=8", "batch.micro=2"]


def _of_step(rows: list[dict[str, Any]], *keys: str) -> dict[int, tuple[str, ...]]:
    return {row["step"]: tuple(repr(row[key]) for key in keys) for row in rows if "probe" not in row}


@pytest.mark.parametrize("engine", _ENGINES)
def test_killed_and_resumed_equals_uninterrupted(engine: str, trainer: Trainer) -> None:
    overrides, ranks = _ENGINES[engine]
    whole = trainer.train(*overrides, *_OVERRIDES, ranks=ranks, run="whole")
    trainer.kill_after(31, *overrides, *_OVERRIDES, ranks=ranks, run="killed")
    assert not any(row["step"] == 60 for row in trainer.rows("killed")), "it was not killed in time"
    resumed = trainer.train(*overrides, *_OVERRIDES, ranks=ranks, run="killed")

    keys = ("loss", "grad_norm", "lr", "samples", "tokens", "data_digest")
    assert _of_step(resumed, *keys) == _of_step(whole, *keys)
    assert [row for row in resumed if "probe" in row] == [row for row in whole if "probe" in row]
