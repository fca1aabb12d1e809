"""Room on the disks of this node: for checkpoints, for copies of shards, for temporary files, for loader workers."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from launch.preflight.report import Result
from train.recipe import Recipe

# A weight and two moments, float32.
_BYTES_PER_PARAMETER = 3 * 4

# Compilers, sockets and workers write a little there.
_TEMPORARY_BYTES = 2**26

_SHARED_MEMORY = Path("/dev/shm")


def space(recipe: Recipe | None, parameters: int, row_bytes: int, num_nodes: int) -> Result:
    """Compare what a run will write with what is free.

    Args:
        recipe: the recipe, where there is one.
        parameters: trained numbers.
        row_bytes: bytes of one row of a batch.
        num_nodes: nodes that share the rows of a step.
    """
    result = Result()
    _require_room(result, "temporary files", Path(tempfile.gettempdir()), _TEMPORARY_BYTES, "set TMPDIR")
    if recipe is None:
        return result
    run = Path(recipe.run)
    # The new one is written before the oldest one is removed.
    needed = parameters * _BYTES_PER_PARAMETER * (recipe.checkpoint.keep_last + 1) - _bytes_in(run / "checkpoints")
    _require_room(result, "checkpoints", run, needed, "choose another folder (run=...), or lower checkpoint.keep_last")
    if recipe.data.cache is not None:
        folder = Path(recipe.data.cache.folder)
        needed = int(recipe.data.cache.size_gb * 1e9) - _bytes_in(folder)
        _require_room(result, "data.cache", folder, needed, "choose another folder, or lower data.cache.size_gb")
    if recipe.data.workers:
        needed = row_bytes * recipe.batch.global_ * recipe.data.prefetch // num_nodes
        what = f"batches of loader workers (data.prefetch={recipe.data.prefetch})"
        _require_room(result, what, _SHARED_MEMORY, needed, "lower data.prefetch, or mount a larger one")
    return result


def anchor(path: Path) -> Path:
    """The nearest folder at or above `path` that exists."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())


def _require_room(result: Result, what: str, folder: Path, needed: int, advice: str) -> None:
    there = anchor(folder)
    free = shutil.disk_usage(there).free
    result.figures[f"free for {what}"] = free
    if not os.access(there, os.W_OK):
        result.failures.append(f"{there} cannot be written ({what}); {advice}")
    elif free < needed:
        result.failures.append(f"{there} has {_text(free)} free, {what} need {_text(needed)}; free some, {advice}")


def _bytes_in(folder: Path) -> int:
    """Bytes of the files below a folder, which others may be removing."""
    found = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                found += os.stat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue
    return found


def _text(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.3g} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.3g} MB"
