"""The test kit: a small real corpus, and real training processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

# A model so small that starting the processes is what takes the time.
_TINY = [
    "model.dim=32",
    "model.num_layers=2",
    "model.mixer.num_heads=2",
    "model.embedder.vocab_size=512",
    "model.embedder.max_length=64",
    "data.train.length=64",
    "data.validation.length=64",
    "probes.validation.rows=12",
    "probes.bits_per_byte.rows=12",
    "probes.bits_per_byte.unigram_rows=50",
    "probes.sample.num_tokens=4",
    "log.every=1",
    "log.tensorboard=false",
]


@dataclass(frozen=True)
class Trainer:
    """Starts real trainings of a tiny model on a small real corpus."""

    corpus: Path
    folder: Path

    def arguments(self, *overrides: str) -> list[str]:
        """What follows `python -m train`: the recipe and its overrides."""
        paths = [
            f"run={self.folder / 'run'}",
            f"data.train.shards={self.corpus}/train-*.tar",
            f"data.validation.shards={self.corpus}/validation-*.tar",
            f"data.tokenizer={self.corpus}/tokenizer.json",
        ]
        return [str(ROOT / "configs" / "quickstart.yaml"), *paths, *_TINY, *overrides]

    def command(self, *overrides: str, ranks: int) -> list[str]:
        """The command line of a training; ranks=0 takes no launcher."""
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks else []
        return [sys.executable, *launcher, "-m", "train", *self.arguments(*overrides)]

    def start(self, *overrides: str, ranks: int) -> subprocess.Popen[str]:
        """Start a training in its own process group."""
        return subprocess.Popen(
            self.command(*overrides, ranks=ranks),
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def fails(self, *overrides: str, ranks: int = 0) -> tuple[int, str]:
        """The exit code and the output of a training."""
        with self.start(*overrides, ranks=ranks) as process:
            output, _ = process.communicate(timeout=300)
        return process.returncode, output

    def train(self, *overrides: str, ranks: int, run: str = "run") -> list[dict[str, Any]]:
        """Train to the end; returns the rows of metrics.jsonl."""
        code, output = self.fails(f"run={self.folder / run}", *overrides, ranks=ranks)
        assert code == 0, output
        return self.rows(run)

    def rows(self, run: str = "run") -> list[dict[str, Any]]:
        """All whole rows of metrics.jsonl."""
        path = self.folder / run / "metrics.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def kill_after(self, step: int, *overrides: str, ranks: int, run: str = "run") -> None:
        """Start a training and kill its launcher with SIGKILL once it has logged `step`."""
        process = self.start(f"run={self.folder / run}", *overrides, ranks=ranks)
        try:
            deadline = time.monotonic() + 300
            while not any(row["step"] >= step for row in self.rows(run)):
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < deadline, "the training did not get there in time"
                time.sleep(0.02)
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed corpus of real text: the source of one package of the standard library."""
    from data.packing.driver import pack
    from data.packing.text.options import TextPackOptions

    output = tmp_path_factory.mktemp("corpus") / "packed"
    source = Path(sysconfig.get_paths()["stdlib"]) / "asyncio"
    pack(TextPackOptions(corpus=str(source), vocab_size=512, validation=0.2, shard_mb=0.1), output)
    return output


@pytest.fixture
def trainer(corpus: Path, tmp_path: Path) -> Trainer:
    """Trainings in a folder of their own."""
    return Trainer(corpus, tmp_path)


@pytest.fixture(scope="module")
def shared_trainer(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """Trainings whose results several tests of a module compare."""
    return Trainer(corpus, tmp_path_factory.mktemp("runs"))


@pytest.fixture
def polytrain(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line, in a folder that is not the checkout."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "launch.cli", *arguments]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)

    return call
