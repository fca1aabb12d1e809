"""The same recipe under every engine and number of ranks is the same training."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tests.conftest import Trainer

pytestmark = pytest.mark.processes

_OVERRIDES = ["train.steps=20", "batch.global=8", "checkpoint.every=20", "checkpoint.keep_last=1"]
_CASES = [
    (engine, ranks)
    for ranks in (1, 2, 4)
    for engine in ("engine.kind=accelerate", "engine.zero=0", "engine.zero=1", "engine.zero=2", "engine.zero=3")
]
_CASES += [("engine.kind=accelerate", 0), ("engine.zero=2", 0)]  # without a launcher


def _train(trainer: Trainer, engine: str, ranks: int, micro: int) -> list[dict[str, Any]]:
    run = f"{engine}-{ranks}-{micro}"
    if not trainer.rows(run):
        trainer.train(engine, f"batch.micro={micro}", *_OVERRIDES, ranks=ranks, run=run)
    return [row for row in trainer.rows(run) if "probe" not in row]


@pytest.mark.parametrize(("engine", "ranks"), _CASES)
def test_engines_and_ranks_agree(engine: str, ranks: int, shared_trainer: Trainer) -> None:
    reference = _train(shared_trainer, "engine.kind=accelerate", 1, 2)
    rows = _train(shared_trainer, engine, ranks, 2)
    assert [row["step"] for row in rows] == list(range(1, 21))
    for row, expected in zip(rows, reference, strict=True):
        assert row["data_digest"] == expected["data_digest"]
        assert (row["samples"], row["tokens"]) == (expected["samples"], expected["tokens"])
        assert row["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        assert row["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-3)


def test_accumulation_and_ranks_do_not_change_the_loss(shared_trainer: Trainer) -> None:
    """1 x 8, 2 x 4 and 4 x 2 (ranks x accumulation) of one row each; rows have unequal token counts."""
    cases = [_train(shared_trainer, "engine.kind=accelerate", ranks, 1) for ranks in (1, 2, 4)]
    tokens = [row["tokens"] for row in cases[0]]
    steps = {after - before for before, after in pairwise(tokens)}
    assert len(steps) > 1, "every batch has the same number of targets, so this proves nothing"
    for other in cases[1:]:
        assert [row["tokens"] for row in other] == tokens
        assert [row["loss"] for row in other] == pytest.approx([row["loss"] for row in cases[0]], rel=1e-6)
