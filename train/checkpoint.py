"""Crash-safe checkpoints of sharded training state.

    checkpoints/
      step-00000100/
        rank-00000.safetensors     fragments that rank 0 wrote: "field:start:name" -> flat float32
        rank-00001.safetensors
        state.json                 step, counters, parameter shapes, data fingerprint
        config.yaml                the resolved recipe
        manifest.json              size and sha256 of every file above
      latest                       "step-00000100"

Commit: every rank writes into `step-N.partial/` and flushes it; barrier; rank 0 writes the manifest,
flushes, renames the folder, and only then replaces `latest`. A process killed at any moment leaves
either the old state or the new one. Loading hashes every file and falls back to the newest folder
that is intact. Fragments are named ranges of named tensors, so any world and any engine can read
what another wrote. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from configs.errors import CheckpointError
from train.state import WEIGHT, Fragment
from train.world import World

Shapes = dict[str, tuple[int, ...]]

_FORMAT = 1
_PREFIX = "step-"
_PARTIAL = ".partial"


@dataclass(frozen=True)
class Position:
    """How far a run has come."""

    step: int = 0
    "Optimizer steps taken."
    samples: int = 0
    "Rows trained on."
    tokens: int = 0
    "Targets trained on."


@dataclass(frozen=True)
class About:
    """What a checkpoint says of itself, beside its tensors."""

    position: Position
    shapes: Shapes
    data_fingerprint: int


class Checkpoints:
    """The `checkpoints/` folder of a run."""

    def __init__(self, folder: Path, world: World) -> None:
        self._folder = folder
        self._world = world

    def save(self, fragments: Iterable[Fragment], about: About, config_yaml: str, *, keep_last: int) -> Path:
        """Write and commit one checkpoint; every rank calls this. Then remove the oldest ones.

        Raises:
            CheckpointError: on every rank, when any rank could not write. Older checkpoints remain.
        """
        final = self._folder / f"{_PREFIX}{about.position.step:08d}"
        partial = final.with_name(final.name + _PARTIAL)
        self._together(lambda: _make_empty(partial) if self._world.is_main else None)
        mine = partial / f"rank-{self._world.rank:05d}.safetensors"
        self._together(lambda: _write_fragments(mine, fragments))
        self._together(lambda: self._commit(partial, final, about, config_yaml) if self._world.is_main else None)
        self._together(lambda: self._prune(final, keep_last) if self._world.is_main else None)
        return final

    def steps(self) -> list[Path]:
        """Committed checkpoints, newest first."""
        if not self._folder.is_dir():
            return []
        found = [path for path in self._folder.glob(f"{_PREFIX}*") if path.name.removeprefix(_PREFIX).isdecimal()]
        return sorted(found, key=_step_of, reverse=True)

    def newest_intact(self, report: Callable[[str], None]) -> Checkpoint | None:
        """The newest checkpoint whose files all match its manifest; every rank calls this.

        Ranks share the hashing. Damaged checkpoints are reported and passed over, never removed.

        Raises:
            CheckpointError: when there are checkpoints and none is intact.
        """
        folders = self._world.gather([str(path) for path in self.steps()])[0]
        assert isinstance(folders, list)
        damages = []
        for folder in folders:
            found = self._world.gather(_damage(Path(folder), self._world.rank, self._world.size))
            damage = next((item for item in found if item), None)
            if damage is None:
                return Checkpoint(Path(folder))
            damages.append(f"{folder}: {damage}")
            report(f"damaged checkpoint passed over: {damages[-1]}")
        if damages:
            raise CheckpointError(
                "\n".join(
                    [
                        "no checkpoint is intact:",
                        *damages,
                        "Restore one, or start again in another run folder (run=...).",
                    ]
                )
            )
        return None

    def intact_at(self, step: int) -> Checkpoint:
        """The checkpoint of one step, for a single process.

        Raises:
            CheckpointError: when it does not exist or is damaged.
        """
        folder = self._folder / f"{_PREFIX}{step:08d}"
        if not folder.is_dir():
            there = ", ".join(str(_step_of(path)) for path in self.steps()) or "none"
            raise CheckpointError(f"{folder}: no such checkpoint; steps there: {there}.")
        damage = _damage(folder, 0, 1)
        if damage:
            raise CheckpointError(f"{folder}: {damage}")
        return Checkpoint(folder)

    def _commit(self, partial: Path, final: Path, about: About, config_yaml: str) -> None:
        state = {
            "format": _FORMAT,
            **asdict(about.position),
            "data_fingerprint": about.data_fingerprint,
            "world_size": self._world.size,
            "parameters": {name: list(shape) for name, shape in about.shapes.items()},
        }
        _write_durably(partial / "state.json", json.dumps(state, indent=1))
        _write_durably(partial / "config.yaml", config_yaml)
        files = {path.name: _size_and_hash(path) for path in sorted(partial.iterdir())}
        _write_durably(partial / "manifest.json", json.dumps({"files": files}, indent=1))
        _flush(partial)
        _remove(final)  # a damaged one of the same step, passed over when this run resumed
        os.rename(partial, final)
        _flush(self._folder)
        pointer = self._folder / "latest"
        _write_durably(pointer.with_name("latest.partial"), final.name + "\n")
        os.replace(pointer.with_name("latest.partial"), pointer)
        _flush(self._folder)

    def _prune(self, newest: Path, keep_last: int) -> None:
        # Those beyond the newest are damaged, or this run would have resumed from them: they do not count.
        for old in [path for path in self.steps() if _step_of(path) <= _step_of(newest)][keep_last:]:
            _remove(old)

    def _together(self, action: Callable[[], None]) -> None:
        """Run `action` on this rank, then fail on every rank if it failed on any. A barrier, too."""
        failure = None
        try:
            action()
        except (OSError, SafetensorError) as error:
            failure = f"rank {self._world.rank}: {error}"
        failures = [item for item in self._world.gather(failure) if item]
        if failures:
            raise CheckpointError(
                f"{self._folder}: the checkpoint could not be written: {'; '.join(map(str, failures))}. "
                "Older checkpoints are untouched; free space or fix permissions, and run the same command again."
            )


class Checkpoint:
    """One committed checkpoint, opened for reading. A `train.state.StateSource`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            state = json.loads((folder / "state.json").read_text())
            self.position = Position(state["step"], state["samples"], state["tokens"])
            self.shapes: Shapes = {name: tuple(shape) for name, shape in state["parameters"].items()}
            self.data_fingerprint: int = state["data_fingerprint"]
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"{folder}: not a checkpoint: {error!r}") from None
        self._places: dict[tuple[str, str], list[tuple[int, int, Any, str]]] = {}
        for path in sorted(folder.glob("rank-*.safetensors")):
            self._open(path)

    @property
    def step(self) -> int:
        """Optimizer steps that led to this state."""
        return self.position.step

    def read(self, field: str, name: str, start: int, numel: int) -> Tensor:
        """A flat float32 range of a named tensor, pieced together from whatever ranks wrote it.

        Raises:
            CheckpointError: when the range is not there.
        """
        out = torch.empty(numel, dtype=torch.float32)
        filled = 0
        for piece_start, piece_numel, opened, key in self._places.get((field, name), []):
            first, last = max(start, piece_start), min(start + numel, piece_start + piece_numel)
            if first < last:
                out[first - start : last - start] = opened.get_slice(key)[first - piece_start : last - piece_start]
                filled += last - first
        if filled != numel:
            raise CheckpointError(
                f"{self.folder}: {field} of {name}: {filled} of {numel} elements from {start} are there."
            )
        return out

    def weights(self) -> dict[str, Tensor]:
        """Every parameter in full, float32."""
        return {
            name: self.read(WEIGHT, name, 0, math.prod(shape)).reshape(shape) for name, shape in self.shapes.items()
        }

    def require_shapes(self, shapes: Shapes) -> None:
        """Check that this is a checkpoint of a model with these parameters.

        Raises:
            CheckpointError: naming what is missing, unexpected or of another shape.
        """
        problems = [f"  {name}: missing in the checkpoint" for name in shapes if name not in self.shapes]
        problems += [f"  {name}: only in the checkpoint" for name in self.shapes if name not in shapes]
        problems += [
            f"  {name}: {self.shapes[name]} in the checkpoint, {shape} in the model"
            for name, shape in shapes.items()
            if name in self.shapes and self.shapes[name] != shape
        ]
        if problems:
            shown = problems[:10] + ([f"  ... and {len(problems) - 10} more"] if len(problems) > 10 else [])
            raise CheckpointError(
                "\n".join(
                    [
                        f"{self.folder}: a checkpoint of another model:",
                        *shown,
                        "Use the run's own recipe, or another run folder.",
                    ]
                )
            )

    def _open(self, path: Path) -> None:
        opened: Any = safe_open(path, framework="pt")
        for key in opened.keys():  # noqa: SIM118 - not a mapping
            field, start, name = key.split(":", 2)
            numel = opened.get_slice(key).get_shape()[0]
            self._places.setdefault((field, name), []).append((int(start), numel, opened, key))


def _step_of(folder: Path) -> int:
    return int(folder.name.removeprefix(_PREFIX))


def _write_fragments(path: Path, fragments: Iterable[Fragment]) -> None:
    tensors = {
        f"{field}:{fragment.start}:{fragment.name}": tensor.detach().float().cpu().contiguous()
        for fragment in fragments
        if fragment.is_written
        for field, tensor in fragment.fields.items()
    }
    save_file(tensors, path)
    _flush(path)


def _damage(folder: Path, share: int, num_shares: int) -> str | None:
    """What is wrong with this share of the folder's files; None when they match the manifest."""
    try:
        files = json.loads((folder / "manifest.json").read_text())["files"]
    except (OSError, ValueError, KeyError) as error:
        return f"manifest.json cannot be read: {error!r}"
    for name in sorted(files)[share::num_shares]:
        try:
            found = _size_and_hash(folder / name)
        except OSError as error:
            return f"{name} cannot be read: {error}"
        if found != files[name]:
            return f"{name} is {found}, the manifest says {files[name]}"
    return None


def _size_and_hash(path: Path) -> dict[str, int | str]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"size": path.stat().st_size, "sha256": digest}


def _make_empty(folder: Path) -> None:
    """Make `folder`, and clear away what interrupted saves and removals of any step left."""
    for leftover in folder.parent.glob(f"{_PREFIX}*{_PARTIAL}"):
        shutil.rmtree(leftover, ignore_errors=True)
    folder.mkdir(parents=True)


def _remove(folder: Path) -> None:
    """Remove a checkpoint so that a half-removed one can never be taken for a whole one."""
    if folder.exists():
        doomed = folder.with_name(folder.name + ".removed" + _PARTIAL)
        shutil.rmtree(doomed, ignore_errors=True)
        os.rename(folder, doomed)
        shutil.rmtree(doomed, ignore_errors=True)  # what a network disk keeps busy, the next save removes


def _write_durably(path: Path, text: str) -> None:
    path.write_text(text)
    _flush(path)


def _flush(path: Path) -> None:
    """Fsync a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
