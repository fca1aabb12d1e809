"""What the paths of a recipe's edits hold: files of weights, or the newest checkpoint of a run."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from configs.errors import CheckpointError
from model.surgery.weights import WeightSource, open_files
from train.checkpoint import Checkpoint, Checkpoints
from train.run_folder import RunFolder
from train.state import WEIGHT
from train.world import World


class CheckpointWeights:
    """The weights of a checkpoint."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every parameter."""
        return self._checkpoint.shapes

    def read(self, name: str) -> Tensor:
        """One parameter, float32."""
        shape = self._checkpoint.shapes[name]
        return self._checkpoint.read(WEIGHT, name, 0, math.prod(shape)).reshape(shape)


def open_weights(path: Path) -> WeightSource:
    """Named tensors of a run folder, of a folder of safetensors files, or of one such file.

    Raises:
        UserError: when there are none, or they cannot be read.
    """
    folder = RunFolder(path)
    return CheckpointWeights(open_checkpoint(folder)) if folder.checkpoints.is_dir() else open_files(path)


def open_checkpoint(folder: RunFolder, step: int | None = None) -> Checkpoint:
    """The checkpoint of `step`, or the newest intact one.

    Raises:
        CheckpointError: when there is none.
    """
    checkpoints = Checkpoints(folder.checkpoints, World())
    if step is None:
        checkpoint = checkpoints.newest_intact(lambda text: print(text, file=sys.stderr))
    else:
        checkpoint = checkpoints.intact_at(step)
    if checkpoint is None:
        raise CheckpointError(f"{folder.path}: has no checkpoint yet.")
    return checkpoint
