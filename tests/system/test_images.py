"""The recipe of masked autoencoding, shortened, on real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.processes

_SHORT = [
    "batch.global=8",
    "batch.micro=2",
    "model.dim=16",
    "model.num_layers=1",
    "objective.decoder.dim=8",
    "checkpoint.every=4",
    "probes.validation.every=4",
    "probes.digits.every=4",
    "probes.digits.labels=24",
    "log.every=1",
    "log.tensorboard=false",
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise of 28 x 28 pixels around a bar whose place is the class, packed."""
    from data.packing.driver import pack
    from data.packing.images.options import ImagePackOptions

    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = generator.integers(0, 120, (60, 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[8 * label : 8 * label + 6] += 120
    np.savez(folder / "bars.npz", images=images, labels=labels)
    pack(ImagePackOptions(corpus=str(folder / "bars.npz"), validation=0.3), folder / "packed")
    return folder / "packed"


def train(pictures: Path, run: Path, *overrides: str) -> list[dict[str, Any]]:
    """Train on two ranks to the end; returns the rows of metrics.jsonl."""
    recipe = str(ROOT / "configs" / "image" / "mae_mnist.yaml")
    paths = [f"data.{split}.shards={pictures}/{split}-*.tar" for split in ("train", "validation")]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launcher, "-m", "train", recipe, f"run={run}", *paths, *_SHORT, *overrides],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("zero", [2, 3])
def test_a_resumed_run_is_the_run_that_went_through(zero: int, pictures: Path, tmp_path: Path) -> None:
    whole = train(pictures, tmp_path / "whole", "train.steps=8", f"engine.zero={zero}")
    train(pictures, tmp_path / "halves", "train.steps=4", f"engine.zero={zero}")
    halves = train(pictures, tmp_path / "halves", "train.steps=8", f"engine.zero={zero}")
    assert len([row for row in whole if "probe" not in row]) == 8
    # The step in which a run ends is measured; nothing else may differ but what takes time.
    exact = ("step", "loss", "lr", "grad_norm", "samples", "tokens", "bad_samples", "data_digest")
    strip = [[row if "probe" in row else {key: row[key] for key in exact} for row in rows] for rows in (whole, halves)]
    assert strip[0] == strip[1]
    accuracies = {row["step"]: row for row in whole if row.get("probe") == "digits"}
    assert accuracies.keys() == {4, 8}
    assert accuracies[8]["accuracy_of_random_weights"] == accuracies[4]["accuracy_of_random_weights"] > 1 / 3


def test_a_run_becomes_a_model_of_transformers(pictures: Path, tmp_path: Path) -> None:
    import torch
    import transformers

    from train.export import export
    from train.inference import TrainedModel

    train(pictures, tmp_path / "run", "train.steps=1", "engine.kind=accelerate", "objective.decoder.num_layers=2")
    architecture = export(tmp_path / "run", tmp_path / "exported", step=None, dtype="float32")
    theirs, report = getattr(transformers, architecture).from_pretrained(
        tmp_path / "exported", output_loading_info=True
    )
    assert not any(report.values()), report
    ours = TrainedModel.of_run(tmp_path / "run").objective
    images = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(16).expand(2, -1) % 4 > 0
    with torch.no_grad():
        loss = ours({"image": images, "mask": mask})["loss"] / int(mask.sum())
        torch.testing.assert_close(loss, theirs(images, noise=mask.float()).loss, rtol=1e-5, atol=0)
