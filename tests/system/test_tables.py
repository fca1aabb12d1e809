"""The recipe of prior-data fitting, cut to a few steps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT, Trainer
from train.fit_predict import fit_predict
from train.inference import TrainedModel
from train.objectives.pfn import PFN

pytestmark = pytest.mark.processes

_TINY = [
    "model.dim=32",
    "model.num_layers=2",
    "model.hidden_dim=64",
    "batch.global=8",
    "batch.micro=2",
    "data.train.parts.causal.source.rows=24",
    "data.train.parts.forest.source.rows=24",
    "train.steps=30",
    "checkpoint.every=5",
    "log.every=1",
    "log.tensorboard=false",
    "probes.tables.tables=[iris]",
    "probes.tables.every=15",
    "probes.tables.splits=3",
    "probes.digits.tables=[iris]",
    "probes.digits.splits=1",
]


class _TableTrainer(Trainer):
    def command(self, *overrides: str, ranks: int) -> list[str]:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks else []
        recipe = str(ROOT / "configs" / "tabular" / "pfn.yaml")
        return [sys.executable, *launcher, "-m", "train", recipe, f"run={self.folder / 'run'}", *_TINY, *overrides]


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    return _TableTrainer(tmp_path, tmp_path)


def _of_steps(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    keys = ("step", "loss", "grad_norm", "lr", "samples", "tokens", "data_digest")
    return [tuple(repr(row[key]) for key in keys) for row in rows if "probe" not in row]


@pytest.mark.parametrize("zero", [2, 3])
def test_killed_and_resumed_on_two_ranks_equals_uninterrupted(zero: int, trainer: Trainer) -> None:
    engine = f"engine.zero={zero}"
    whole = trainer.train(engine, ranks=2, run="whole")
    trainer.kill_after(17, engine, ranks=2, run="killed")
    assert not any(row["step"] == 30 for row in trainer.rows("killed")), "it was not killed in time"
    resumed = trainer.train(engine, ranks=2, run="killed")
    assert _of_steps(resumed) == _of_steps(whole)
    probed = [[row for row in rows if "probe" in row] for rows in (resumed, whole)]
    assert probed[0] == probed[1]
    assert [row["step"] for row in probed[0] if row["probe"] == "tables"] == [15, 30]


def test_a_run_classifies_tables(trainer: Trainer) -> None:
    trainer.train("train.steps=2", ranks=0)
    model = TrainedModel.of_run(trainer.folder / "run").objective
    assert isinstance(model, PFN)
    rng = np.random.default_rng(0)
    found = fit_predict(model, rng.standard_normal((8, 3)), np.arange(8) % 2, rng.standard_normal((5, 3)))
    assert found.shape == (5, 2)
    np.testing.assert_allclose(found.sum(1), 1.0)
