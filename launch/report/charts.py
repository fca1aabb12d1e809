"""A figure of every run over steps, as SVG that needs no script. report.js draws the same again, zoomed or smoothed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from launch.report.curves import Curve, Thinned, thin
from launch.report.markup import element, shown
from launch.report.runs import Run

# Units of the drawing; the page scales it.
FRAME = {"width": 560, "height": 230, "left": 62, "right": 22, "top": 10, "bottom": 26}
NUM_COLOURS = 8
_MAX_COLUMNS = FRAME["width"] - FRAME["left"] - FRAME["right"]
# Points of the whole page: some 15 bytes each in the drawing and as many in the data.
_MAX_POINTS = 40_000
# Fewer points than this are drawn as dots too.
MAX_DOTS = 40
# Axes end here: the span of the largest floats is no float.
LARGEST = 1e300

TITLES = {
    "loss": "Loss",
    "lr": "Learning rate",
    "grad_norm": "Gradient norm",
    "tokens_per_s": "Tokens per second",
    "mfu": "Model FLOPs utilisation",
    "step_s": "Step time (s)",
    "data_wait_s": "Data wait per step (s)",
    "rss_mb": "Memory of the process (MB)",
    "bad_samples": "Bad samples",
}
"Figures of training steps in the order they are shown; others follow, under their keys."


@dataclass(frozen=True)
class Chart:
    """One figure of the runs that have it."""

    probe: str
    key: str
    curves: list[tuple[int, Curve, Thinned]]
    "Number of the run, the figure, and what is drawn of it."

    @property
    def title(self) -> str:
        """What a person calls it."""
        return f"{self.probe}: {self.key}" if self.probe else TITLES.get(self.key, self.key)

    @property
    def id(self) -> str:
        """A name that is the chart's alone."""
        return f"{self.probe}/{self.key}"

    def data(self) -> dict[str, Any]:
        """What report.js draws from: values in six digits, null where there is none."""
        return {
            "id": self.id,
            "curves": [
                {"run": run, **_columns(thinned.points), "means": thinned.means and _columns(thinned.means)}
                for run, _, thinned in self.curves
            ],
        }


def charts(runs: Sequence[Run]) -> list[Chart]:
    """Every figure that was measured, and every loss: of training steps first, then of each probe."""
    known = {("", key): place for place, key in enumerate(TITLES)}
    found = ((name, curve) for run in runs for name, curve in run.metrics.curves.items())
    # What a device does not have (MFU of a CPU) is null in every row.
    names = list(dict.fromkeys(name for name, curve in found if name[1] == "loss" or np.isfinite(curve.values).any()))
    names.sort(key=lambda name: (name[0] != "", known.get(name, len(known))))
    num_columns = max(20, min(_MAX_COLUMNS, _MAX_POINTS // (5 * max(1, len(names) * len(runs)))))
    return [
        Chart(
            *name,
            [
                (number, curve, thin(curve, num_columns))
                for number, curve in ((number, run.metrics.curves.get(name)) for number, run in enumerate(runs))
                if curve is not None
            ],
        )
        for name in names
    ]


def drawing(chart: Chart, runs: Sequence[Run], last_step: int, number: int) -> Element:
    """The chart over steps 0 to `last_step`."""
    low, high = _range(chart)
    axes = _Axes(last_step, low, high)
    clip = f"plot-{number}"
    box = {"x": axes.left - 4, "y": 0, "width": axes.right - axes.left + 8, "height": axes.bottom}
    return element(
        "svg",
        element("title", chart.title),
        element("desc", _description(chart, runs), id=f"values-{number}"),
        element("clipPath", element("rect", **box), id=clip),
        element("g", *_grid(axes), class_="grid"),
        element(
            "g",
            *(line for index, run in enumerate(runs) for line in _starts(index, run, axes)),
            *(path for index, _, thinned in chart.curves for path in _paths(index, thinned.points, axes)),
            class_="plot",
            clip_path=f"url(#{clip})",
        ),
        viewBox=f"0 0 {FRAME['width']} {FRAME['height']}",
        role="img",
        aria_label=chart.title,
        aria_describedby=f"values-{number}",
        data_chart=chart.id,
    )


class _Axes:
    """From steps and values to units of the drawing."""

    def __init__(self, last_step: int, low: float, high: float) -> None:
        self.left, self.right = FRAME["left"], FRAME["width"] - FRAME["right"]
        self.top, self.bottom = FRAME["top"], FRAME["height"] - FRAME["bottom"]
        self.last_step, self.low, self.high = max(1, last_step), low, high

    def x(self, step: float) -> float:
        return self.left + (self.right - self.left) * step / self.last_step

    def y(self, value: float) -> float:
        return self.bottom - (self.bottom - self.top) * ((value - self.low) / (self.high - self.low))


def _range(chart: Chart) -> tuple[float, float]:
    """The values to show, with some room above and below."""
    values = np.concatenate([curve.finite.values for _, curve, _ in chart.curves])
    if not len(values):
        return 0.0, 1.0
    low, high = max(float(values.min()), -LARGEST), min(float(values.max()), LARGEST)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers between two."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    return [index * step for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _grid(axes: _Axes) -> list[Element]:
    made = []
    for value in ticks(axes.low, axes.high, 5):
        y = f"{axes.y(value):.1f}"
        made.append(element("line", x1=axes.left, x2=axes.right, y1=y, y2=y))
        made.append(element("text", _tick(value), x=axes.left - 6, y=y, dy="0.32em", class_="of-value"))
    for step in ticks(0, axes.last_step, 6):
        if step == int(step):
            x = f"{axes.x(step):.1f}"
            made.append(element("text", f"{int(step):,}", x=x, y=axes.bottom + 17, class_="of-step"))
    return made


def _tick(value: float) -> str:
    """Digits, or "2e-5" where they would be many; report.js writes the same."""
    if value == 0 or 1e-4 <= abs(value) < 1e7:
        return f"{value:,.8g}"
    digits, power = f"{value:.3e}".split("e")
    return f"{float(digits):g}e{int(power)}"


def _starts(index: int, run: Run, axes: _Axes) -> list[Element]:
    """A vertical line where the run was resumed."""
    made = []
    for start in run.starts:
        if start["step"] > 0:
            x = f"{axes.x(start['step']):.1f}"
            text = start_text(start)
            line = element("line", element("title", text), x1=x, x2=x, y1=axes.top, y2=axes.bottom)
            line.set("class", f"start run-{index % NUM_COLOURS}")
            made.append(line)
    return made


def start_text(start: dict[str, Any]) -> str:
    """One start of a run in words."""
    what = f"resumed from step {start['step']:,}" if start["step"] > 0 else "started"
    return f"{what} at {start.get('time', '?')} on {start.get('host', '?')}, ranks: {start.get('world_size', '?')}"


def _paths(index: int, points: Curve, axes: _Axes) -> list[Element]:
    """The line, its dots where points are few or alone, and marks where there is no finite value."""
    line: list[str] = []
    dots: list[str] = []
    missing: list[str] = []
    is_drawing = False
    is_finite = np.isfinite(points.values)
    alone = is_finite & ~np.append(is_finite[1:], False) & ~np.append(False, is_finite[:-1])
    for step, value, finite, is_alone in zip(points.steps, points.values, is_finite, alone, strict=True):
        x = f"{axes.x(step):.1f}"
        if not finite:
            missing.append(f"M{x} {axes.bottom}v-8")
            is_drawing = False
            continue
        place = f"{x} {axes.y(value):.1f}"
        line.append(f"{'L' if is_drawing else 'M'}{place}")
        if is_alone or len(points.steps) <= MAX_DOTS:
            dots.append(f"M{place}h0")
        is_drawing = True
    colour = f"run-{index % NUM_COLOURS}"
    kinds = {"curve": line, "dots": dots, "missing": missing}
    return [element("path", d="".join(d), class_=f"{kind} {colour}", data_run=index) for kind, d in kinds.items() if d]


def _description(chart: Chart, runs: Sequence[Run]) -> str:
    """The figure in a sentence for each run."""
    sentences = []
    for index, curve, _ in chart.curves:
        finite = curve.finite
        name = f"{runs[index].label}: " if len(runs) > 1 else ""
        if not len(finite.steps):
            sentences.append(f"{name}no finite value.")
            continue
        first, last = float(finite.values[0]), float(finite.values[-1])
        sentences.append(
            f"{name}{shown(first)} at step {finite.steps[0]:,}, {shown(last)} at step {finite.steps[-1]:,}, "
            f"between {shown(float(finite.values.min()))} and {shown(float(finite.values.max()))}."
        )
    return " ".join(sentences)


def _columns(curve: Curve) -> dict[str, list[Any]]:
    values = [float(f"{value:.6g}") if math.isfinite(value) else None for value in curve.values]
    return {"steps": curve.steps.tolist(), "values": values}
