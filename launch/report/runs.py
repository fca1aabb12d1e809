"""What a run folder holds, as far as it got: a run may be in progress, killed, or of another version."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from configs.errors import ConfigError
from launch.report.curves import Curve
from train.metrics import Row, iterate_rows
from train.recipe import tree_of_run

_TOTALS = ("samples", "tokens")
"Counts from the start of the run, which say no more than the step does."


@dataclass(frozen=True)
class Sample:
    """What a probe wrote at one step, as texts by name: "prompt" and "text" of generated text."""

    step: int
    texts: dict[str, str]


@dataclass
class Metrics:
    """metrics.jsonl by column. Times are sums over steps, in seconds."""

    curves: dict[tuple[str, str], Curve] = field(default_factory=dict)
    "By probe and figure; the probe of a training step is ''."
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    "By probe."
    last: Row = field(default_factory=dict)
    "The last row of a training step."
    seconds: float = 0.0
    wait_seconds: float = 0.0
    trained_tokens: int = 0
    "Tokens of the steps that `seconds` counts."


@dataclass(frozen=True)
class CheckpointFolder:
    """One committed checkpoint."""

    step: int
    num_bytes: int
    num_files: int
    written: datetime


@dataclass(frozen=True)
class Run:
    """What one run wrote."""

    path: Path
    label: str
    "Its name, or its path where runs are called the same."
    tree: dict[str, Any]
    "The resolved recipe."
    metrics: Metrics
    environment: dict[str, Any]
    checkpoints: list[CheckpointFolder]
    bad_samples: list[Row]
    notes: list[str]
    "What is missing, and what that may mean."

    @property
    def steps(self) -> int | None:
        """The last step of the recipe."""
        train = self.tree.get("train")
        return train.get("steps") if isinstance(train, dict) else None

    @property
    def yaml(self) -> str:
        """The resolved recipe."""
        return yaml.safe_dump(self.tree, sort_keys=False, allow_unicode=True)

    @property
    def starts(self) -> list[dict[str, Any]]:
        """When and where the run was started and resumed, and from which step."""
        starts = self.environment.get("starts")
        return [start for start in starts or [] if isinstance(start, dict) and isinstance(start.get("step"), int)]

    @property
    def last_step(self) -> int:
        """The last step with a row in metrics.jsonl, of training or of a probe."""
        return max((int(curve.steps[-1]) for curve in self.metrics.curves.values()), default=0)


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Read run folders.

    Raises:
        ConfigError: when one is not a run folder.
    """
    names = [path.resolve().name for path in paths]
    labels = names if len(set(names)) == len(names) else [str(path) for path in paths]
    return [_read_run(path, label) for path, label in zip(paths, labels, strict=True)]


def _read_run(path: Path, label: str) -> Run:
    tree = tree_of_run(path)
    if not isinstance(tree, dict):
        raise ConfigError(f"{path / 'config.yaml'}: expected a mapping, found {type(tree).__name__}.")
    environment, notes = _read_environment(path / "environment.json")
    metrics = read_metrics(path / "metrics.jsonl")
    run = Run(path, label, tree, metrics, environment, _checkpoints(path), _bad_samples(path), notes)
    run.notes.extend(_problems(run))
    return run


def read_metrics(path: Path) -> Metrics:
    """Read a metrics.jsonl row by row: of a long run, only the numbers are kept in memory."""
    metrics, columns = Metrics(), _Columns()
    for row in iterate_rows(path):
        step, probe = row["step"], row.get("probe", "")
        for key, value in row.items():
            if (value is None or _is_number(value)) and key not in ("step", *_TOTALS):
                columns.add((probe, key), step, value)
        if probe:
            texts = {key: value for key, value in row.items() if isinstance(value, str) and key != "probe"}
            if texts:
                metrics.samples.setdefault(probe, []).append(Sample(step, texts))
        else:
            _add_times(metrics, row)
            metrics.last = row
    metrics.curves = columns.curves()
    return metrics


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _add_times(metrics: Metrics, row: Row) -> None:
    """Times of a row are means over the steps since the last one; its rate says for how many tokens."""
    step_s, rate, before = row.get("step_s"), row.get("tokens_per_s"), metrics.last
    if step_s is None or rate is None:
        return
    seconds = step_s * (row["step"] - before.get("step", 0))
    metrics.seconds += seconds
    metrics.wait_seconds += (row.get("data_wait_s") or 0.0) * (row["step"] - before.get("step", 0))
    metrics.trained_tokens += row.get("tokens", 0) - before.get("tokens", 0)


class _Columns:
    """Steps and values of every figure, as they are read."""

    def __init__(self) -> None:
        self._steps: dict[tuple[str, str], array[int]] = {}
        self._values: dict[tuple[str, str], array[float]] = {}

    def add(self, name: tuple[str, str], step: int, value: float | None) -> None:
        if name not in self._steps:
            self._steps[name], self._values[name] = array("q"), array("d")
        self._steps[name].append(step)
        self._values[name].append(math.nan if value is None else value)

    def curves(self) -> dict[tuple[str, str], Curve]:
        return {name: Curve.of(steps, self._values[name]) for name, steps in self._steps.items()}


def _read_environment(path: Path) -> tuple[dict[str, Any], list[str]]:
    """What the file says, and what is wrong with it."""
    try:
        environment = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        return {}, [f"environment.json cannot be read: {error}"]
    return (environment, []) if isinstance(environment, dict) else ({}, ["environment.json does not hold an object."])


def _checkpoints(run: Path) -> list[CheckpointFolder]:
    """Committed checkpoints, oldest first."""
    found = []
    for folder in sorted((run / "checkpoints").glob("step-*")):
        step = folder.name.removeprefix("step-")
        if step.isdecimal():
            try:
                files = [path.stat() for path in folder.iterdir()]
                written = datetime.fromtimestamp(folder.stat().st_mtime, UTC)
            except FileNotFoundError:  # a run in progress removes its oldest
                continue
            found.append(CheckpointFolder(int(step), sum(file.st_size for file in files), len(files), written))
    return found


def _bad_samples(run: Path) -> list[Row]:
    rows = [row for path in sorted((run / "bad_samples").glob("rank-*.jsonl")) for row in iterate_rows(path)]
    return sorted(rows, key=lambda row: int(row["step"]))


def _problems(run: Run) -> Iterator[str]:
    """What a reader should know before reading on."""
    path = run.path / "metrics.jsonl"
    if not path.exists():
        yield "There is no metrics.jsonl: the run has not come to its first measurement."
    elif not run.metrics.curves:
        yield "metrics.jsonl is empty: the run has not come to its first logged step."
    elif run.steps is not None and run.last_step < run.steps:
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(" ", "seconds")
        yield (
            f"Not finished: step {run.last_step:,} of {run.steps:,}; in progress, stopped or killed. "
            f"The last row was written at {written}."
        )
    if path.exists() and _is_cut_short(path):
        yield "The last line of metrics.jsonl is cut short, and left out."
    if run.metrics.curves and not any(probe for probe, _ in run.metrics.curves) and not run.metrics.samples:
        yield "No probe has measured anything."


def _is_cut_short(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 1))
        return file.read(1) not in (b"\n", b"")
