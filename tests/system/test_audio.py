"""The recipe of wav2vec 2.0, cut short, on real processes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import soundfile

from data.packing.audio.options import AudioPackOptions
from data.packing.driver import pack
from tests.conftest import ROOT, Trainer

pytestmark = pytest.mark.processes

_RATE = 8000
_TINY = [
    "model.dim=16",
    "model.num_layers=1",
    "model.mixer.num_heads=2",
    "model.embedder.widths=[8,8,8,8]",
    "model.positions.kernel=4",
    "model.positions.groups=2",
    "batch.global=8",
    "batch.micro=2",
    "train.steps=30",
    "checkpoint.every=5",
    "probes.heldout.every=10",
    "log.every=1",
    "log.tensorboard=false",
]


@dataclass(frozen=True)
class AudioTrainer(Trainer):
    """Trainings of the audio recipe."""

    def command(self, *overrides: str, ranks: int) -> list[str]:
        shards = [f"data.{split}.shards={self.corpus}/{split}-*.tar" for split in ("train", "validation")]
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks else []
        recipe = str(ROOT / "configs" / "audio" / "wav2vec2_asterisk.yaml")
        return [sys.executable, *launcher, "-m", "train", recipe, *shards, *_TINY, *overrides]


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> AudioTrainer:
    """Trainings on chirps of several lengths: rows are ragged."""
    folder = tmp_path_factory.mktemp("audio")
    (folder / "recordings").mkdir()
    generator = np.random.default_rng(0)
    for number in range(24):
        time = np.arange(generator.integers(_RATE, 3 * _RATE)) / _RATE
        chirp = np.sin(2 * np.pi * (200 + 40 * number + 300 * time) * time)
        noise = 0.05 * generator.standard_normal(len(time))
        soundfile.write(folder / "recordings" / f"{number:02}.wav", 0.5 * chirp + noise, _RATE)
    pack(AudioPackOptions(corpus=str(folder / "recordings"), validation=0.2), folder / "packed")
    return AudioTrainer(folder / "packed", folder)


@pytest.fixture(scope="module")
def whole(trainer: AudioTrainer) -> list[dict[str, Any]]:
    """The rows of a run that was never interrupted (ZeRO-2)."""
    return trainer.train(ranks=2, run="whole")


def test_killed_and_resumed_equals_uninterrupted(whole: list[dict[str, Any]], trainer: AudioTrainer) -> None:
    trainer.kill_after(12, ranks=2, run="killed")
    assert not any(row["step"] == 30 for row in trainer.rows("killed")), "it was not killed in time"
    resumed = trainer.train(ranks=2, run="killed")
    keys = ("step", "loss", "grad_norm", "tokens", "data_digest")
    assert _of(resumed, keys) == _of(whole, keys)
    assert [row for row in resumed if "probe" in row] == [row for row in whole if "probe" in row]


def test_sharded_parameters_change_nothing(whole: list[dict[str, Any]], trainer: AudioTrainer) -> None:
    sharded = trainer.train("engine.zero=3", "train.steps=4", ranks=2, run="sharded")
    losses, expected = ([row["loss"] for row in rows if "probe" not in row][:4] for rows in (sharded, whole))
    assert losses == pytest.approx(expected, rel=1e-5)


def _of(rows: list[dict[str, Any]], keys: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [tuple(repr(row[key]) for key in keys) for row in rows if "probe" not in row]
