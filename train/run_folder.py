"""`runs/<name>/`: what is in it, and who may write there.

    config.yaml        the resolved recipe
    environment.json   versions, host and command of the newest start; when and where each start was
    tokenizer.json     a copy, for text models
    metrics.jsonl      one object per logged step, one per probe
    tensorboard/       the same, as events
    checkpoints/       see train.checkpoint
    bad_samples/       see train.bad_samples; only where a sample could not be read
    profile/           see train.profile; only where log.profile asks for it
    stalls/            see train.watchdog; only where a step did not end
    trackers.json      the names of this run in log.trackers
    .lock              held by the process that trains here

A start first only looks (`claim`): whatever it refuses leaves the folder as it was.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import socket
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from configs.errors import CheckpointError, ConfigError
from configs.files import replace_file
from train.efficiency import Efficiency
from train.recipe import Recipe, differences, recipe_of_run
from train.world import World

_PACKAGES = (
    "torch",
    "deepspeed",
    "accelerate",
    "webdataset",
    "datasets",
    "tokenizers",
    "safetensors",
    "numpy",
    "flash-attn",
)


# What a first start leaves when it is killed before its recipe is in place.
_BEFORE_THE_RECIPE = {".lock", "config.yaml.partial"}


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.metrics = path / "metrics.jsonl"
        self.tensorboard = path / "tensorboard"
        self.tokenizer = path / "tokenizer.json"
        self._lock: IO[str] | None = None

    def claim(self, recipe: Recipe) -> None:
        """Check that this folder is free, or belongs to this recipe, and hold it until the process ends.

        Raises:
            ConfigError: when it is something else, belongs to another recipe, cannot be written, or
                another process trains in it.
        """
        if (self.path / "config.yaml").exists():
            self._require_same_recipe(recipe)
        elif self.path.exists() and (
            not self.path.is_dir() or any(item.name not in _BEFORE_THE_RECIPE for item in self.path.iterdir())
        ):
            raise ConfigError(f"run={self.path}: exists and is not a run folder. Choose another (run=...).")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("w")
        except OSError as error:
            raise ConfigError(
                f"run={self.path}: cannot be written: {error}. Choose another (run=...), or fix permissions."
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise ConfigError(
                f"run={self.path}: another process is training in this folder. "
                "Wait for it, stop it, or choose another (run=...)."
            ) from None
        except OSError as error:  # some network disks cannot lock
            print(
                f"run={self.path}: cannot be locked ({error}): see to it that only one job trains here", file=sys.stderr
            )
        self._lock = lock

    def begin(self, recipe: Recipe, world: World, step: int, efficiency: Efficiency) -> None:
        """Write what describes this start; `step` is where it goes on from."""
        replace_file(self.path / "config.yaml", recipe.yaml())
        if recipe.data.tokenizer is not None and not self.tokenizer.exists():
            replace_file(self.tokenizer, Path(recipe.data.tokenizer).read_bytes())
        start = {"time": _now(), "step": step, "world_size": world.size, "host": socket.gethostname()}
        environment = _environment(world) | {"efficiency": efficiency.facts(), "starts": [*self._starts(), start]}
        replace_file(self.path / "environment.json", json.dumps(environment, indent=2) + "\n")

    def release(self) -> None:
        """Let others train here."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _require_same_recipe(self, recipe: Recipe) -> None:
        found = differences(recipe.identity(), recipe_of_run(self.path).identity())
        if found:
            raise ConfigError(
                "\n".join(
                    [
                        f"run={self.path}: belongs to another recipe:",
                        *(f"  {line}" for line in found),
                        "Choose another run folder (run=...), or restore these keys.",
                    ]
                )
            )

    def _starts(self) -> list[Any]:
        try:
            starts = json.loads((self.path / "environment.json").read_text())["starts"]
        except (OSError, ValueError, KeyError):
            return []
        return starts if isinstance(starts, list) else []


def require_same_data(fingerprint: int, checkpoint_fingerprint: int, folder: Path) -> None:
    """Check that a run goes on with the data it began with.

    Raises:
        CheckpointError: when the training data differ.
    """
    if fingerprint != checkpoint_fingerprint:
        raise CheckpointError(
            f"{folder}: this run was trained on other data (fingerprint {checkpoint_fingerprint:016x}; "
            f"data.train now has {fingerprint:016x}). Restore the shards, or choose another run folder (run=...)."
        )


def _environment(world: World) -> dict[str, Any]:
    versions: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    variables = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID")
    return {
        "time": _now(),
        "host": socket.gethostname(),
        "command": sys.argv,
        "folder": os.getcwd(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "world_size": world.size,
        "device": str(world.device),
        "variables": {name: os.environ[name] for name in variables if name in os.environ},
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
