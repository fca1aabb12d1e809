"""What stands below the curves: figures, samples, recipes, environments, checkpoints, bad samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar
from xml.etree.ElementTree import Element

import numpy as np

from launch.report.charts import Chart
from launch.report.markup import Child, element, number, shown, table
from launch.report.runs import CheckpointFolder, Run, Sample
from train.recipe import differing

_MAX_SAMPLES = 20
"Steps whose samples are shown, of each probe."
_MAX_CHARACTERS = 4000
"Of each sample."
_MAX_BAD_SAMPLES = 100

T = TypeVar("T")


def facts(run: Run) -> dict[str, Child]:
    """What a reader asks first."""
    metrics, last = run.metrics, run.metrics.last
    found: dict[str, Child] = {"Step": f"{run.last_step:,}" + (f" of {run.steps:,}" if run.steps else "")}
    if (loss := last.get("loss")) is not None:
        found["Last loss"] = number(loss)
    if "tokens" in last:
        found["Tokens"] = number(last["tokens"])
    if metrics.seconds:
        found["Training time"] = duration(metrics.seconds)
        found["Tokens per second"] = number(metrics.trained_tokens / metrics.seconds)
    return found


def duration(seconds: float) -> str:
    """Two units: "3 h 20 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest_s = divmod(round(seconds), 60)
    hours, rest_min = divmod(minutes, 60)
    days, rest_h = divmod(hours, 24)
    if days:
        return f"{days} d {rest_h} h"
    return f"{hours} h {rest_min} min" if hours else f"{minutes} min {rest_s} s"


def last_values(charts: Sequence[Chart], runs: Sequence[Run]) -> Element:
    """Every figure of every run: its first, last, smallest and largest value, with their steps."""
    rows: list[list[Child]] = []
    for chart in charts:
        for index, curve, _ in chart.curves:
            finite, name = curve.finite, chart.title + (f" ({runs[index].label})" if len(runs) > 1 else "")
            steps, values = finite.steps, finite.values
            places = (0, len(values) - 1, values.argmin(), values.argmax()) if len(values) else ()
            cells: list[Child] = [
                element("span", number(float(values[i])), element("span", f" at {steps[i]:,}", class_="faint"))
                for i in places
            ]
            missing = len(curve.values) - len(values)
            rows.append([name, *(cells or ["-"] * 4), f"{missing:,}" if missing else "", f"{len(curve.values):,}"])
    head = ["Figure", "First", "Last", "Smallest", "Largest", "Not finite", "Values"]
    return table(head, rows, caption="All values of metrics.jsonl, with their steps")


def throughput(runs: Sequence[Run]) -> Element:
    """How fast each run was, and what it waited for."""
    figures = ["Tokens/s, mean", "Tokens/s, median", "Tokens/s, last", "Step time, median", "Data wait", "Memory, most"]
    return table(
        ["Run", *figures],
        [[run.label, *_throughput(run)] for run in runs],
        caption="Of the rows of training steps; memory is that of the first process",
    )


def _throughput(run: Run) -> Iterator[Child]:
    metrics = run.metrics
    columns = {key: curve.finite.values for (probe, key), curve in metrics.curves.items() if not probe}
    rates, times, memory = (columns.get(key, np.empty(0)) for key in ("tokens_per_s", "step_s", "rss_mb"))
    yield number(metrics.trained_tokens / metrics.seconds) if metrics.seconds else "-"
    yield number(float(np.median(rates))) if len(rates) else "-"
    yield number(float(rates[-1])) if len(rates) else "-"
    yield f"{shown(float(np.median(times)))} s" if len(times) else "-"
    yield f"{metrics.wait_seconds / metrics.seconds:.2%}" if metrics.seconds else "-"
    yield f"{shown(float(memory.max()))} MB" if len(memory) else "-"


def samples(runs: Sequence[Run]) -> Iterator[Element]:
    """What probes wrote, newest first; the newest is open."""
    for run in runs:
        for probe, found in run.metrics.samples.items():
            kept = _spread(found[::-1], _MAX_SAMPLES)
            yield element("h3", probe + (f" ({run.label})" if len(runs) > 1 else ""))
            if len(kept) < len(found):
                yield element("p", f"{len(kept)} of {len(found):,} steps, spread evenly.", class_="faint")
            for index, sample in enumerate(kept):
                summary = element("summary", f"step {sample.step:,}")
                yield element("details", summary, *_texts(sample), open="" if index == 0 else None)


def _texts(sample: Sample) -> Iterator[Element]:
    texts = {key: _shortened(text) for key, text in sample.texts.items()}
    if "text" in texts:
        prompt = texts.pop("prompt", "")
        yield element("pre", element("b", prompt), texts.pop("text"))
    for key, text in texts.items():
        yield element("p", f"{key}:")
        yield element("pre", text)


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}\n[{len(text):,} characters]"


def _spread(items: Sequence[T], most: int) -> list[T]:
    """At most so many of them, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[index * (len(items) - 1) // (most - 1)] for index in range(most)]


def recipe_differences(runs: Sequence[Run]) -> Element:
    """The keys in which any recipe differs from the first."""
    first = runs[0].tree
    paths = sorted({path for run in runs[1:] for path, _, _ in differing(first, run.tree)})
    if not paths:
        return element("p", "The recipes are the same.")
    rows = [[".".join(path), *(_value_at(run.tree, path) for run in runs)] for path in paths]
    return table(["Key", *(run.label for run in runs)], rows, caption="Keys of the recipes that differ")


def _value_at(tree: Any, path: Sequence[str]) -> str:
    for key in path:
        if not isinstance(tree, dict) or key not in tree:
            return "-"
        tree = tree[key]
    return str(tree)


def recipes(runs: Sequence[Run]) -> Iterator[Element]:
    """The resolved recipes."""
    for run in runs:
        yield element("details", element("summary", f"{run.path}/config.yaml"), element("pre", run.yaml))


def environments(runs: Sequence[Run]) -> Iterator[Element]:
    """Where each run was started, and on what."""
    for run in runs:
        if len(runs) > 1:
            yield element("h3", run.label)
        if not run.environment:
            yield element("p", "environment.json is missing or cannot be read.")
            continue
        if run.starts:
            yield _starts(run)
        described = {key: value for key, value in run.environment.items() if key != "starts"}
        yield table(["Of the newest start", "Value"], _flat(described), caption="Versions, host and command")


def _starts(run: Run) -> Element:
    keys = list(dict.fromkeys(key for start in run.starts for key in start))
    rows = [[str(place), *(str(start.get(key, "-")) for key in keys)] for place, start in enumerate(run.starts, 1)]
    return table(["Start", *keys], rows, caption="Starts; resumes are vertical lines in the curves")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield f"{prefix}{key}", " ".join(map(str, value))
        else:
            yield f"{prefix}{key}", "not installed" if value is None and prefix == "packages." else str(value)


def checkpoints(runs: Sequence[Run]) -> Element:
    """Committed checkpoints."""
    rows = [_checkpoint(run, found) for run in runs for found in run.checkpoints]
    if not rows:
        return element("p", "None yet.")
    return table(["Step", "Run", "Size", "Files", "Written"], rows, caption="Committed checkpoints in the run folder")


def _checkpoint(run: Run, found: CheckpointFolder) -> list[Child]:
    size = f"{found.num_bytes / 1e6:,.1f} MB"
    return [f"{found.step:,}", run.label, size, str(found.num_files), found.written.isoformat(" ", "seconds")]


def bad_samples(runs: Sequence[Run]) -> Iterator[Element]:
    """Samples that could not be read."""
    for run in runs:
        found = run.bad_samples
        if not found:
            yield element("p", f"{run.label}: none.")
            continue
        keys = list(dict.fromkeys(key for row in found for key in row))
        rows = [[_shortened(str(row.get(key, "-"))) for key in keys] for row in found[-_MAX_BAD_SAMPLES:]]
        caption = f"{run.label}: {len(found):,} samples could not be read; the last {len(rows)}"
        yield table(keys, rows, caption=caption)
