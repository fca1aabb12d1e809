"""The results of a paper: as JSON, as a drawing, as a page in Markdown."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from xml.etree.ElementTree import Element, tostring

from launch.report.markup import element
from train.reproduce.paper import Comparison, Paper
from train.reproduce.verdict import Verdict

_WIDTH, _ROW, _LEFT, _RIGHT, _TITLE = 640, 26, 150, 90, 30


@dataclass(frozen=True)
class Result:
    """What was measured."""

    name: str
    paper: Paper
    seeds: list[int]
    figures: dict[str, dict[str, list[float]]]
    "By figure and arm, of every seed."
    verdicts: list[tuple[Comparison, Verdict]]

    @property
    def holds(self) -> bool:
        """Whether all comparisons do."""
        return all(verdict.word == "holds" for _, verdict in self.verdicts)

    def arm_rows(self) -> list[dict[str, object]]:
        """Mean and standard deviation of every figure, by arm."""
        arms = dict.fromkeys(arm for values in self.figures.values() for arm in values)
        return [
            {
                "arm": arm,
                **{name: _spread(values[arm]) if arm in values else "-" for name, values in self.figures.items()},
            }
            for arm in arms
        ]

    def verdict_rows(self) -> list[dict[str, object]]:
        """Every comparison: what is claimed, and what was found."""
        return [
            {
                "comparison": comparison.title,
                "expected": comparison.claim,
                "measured": f"{verdict.mean:.4g}",
                "interval": f"{verdict.low:.4g} to {verdict.high:.4g}" if len(verdict.values) > 1 else "one seed",
                "verdict": verdict.word,
            }
            for comparison, verdict in self.verdicts
        ]


def json_text(result: Result) -> str:
    """All of it."""
    compared = [
        comparison.tree() | {"title": comparison.title} | asdict(verdict) for comparison, verdict in result.verdicts
    ]
    tree = {"paper": result.name, "title": result.paper.title, "seeds": result.seeds, "figures": result.figures}
    return json.dumps(tree | {"comparisons": compared, "holds": result.holds}, indent=1) + "\n"


def markdown(result: Result, plot: str) -> str:
    """The page."""
    paper = result.paper
    pairs = zip(result.verdict_rows(), result.verdicts, strict=True)
    rows = [row | {"published": item.published or "-"} for row, (item, _) in pairs]
    seeds = ", ".join(map(str, result.seeds))
    parts = [
        f"# {paper.title}",
        f"{paper.authors} {paper.year}, <{paper.url}>",
        paper.claim,
        f"Recipe `{paper.recipe}`, seeds {seeds}: mean and standard deviation over seeds.",
        _table(result.arm_rows()),
        f"![figures by arm]({plot})",
    ]
    if rows:
        parts += [
            "Intervals are of the mean over seeds (Student's t, 90%), of runs paired by seed.",
            _table(rows),
        ]
    parts.append(f"Measured by `polytrain reproduce {result.name}`.")
    return "\n\n".join(parts) + "\n"


def drawing(result: Result) -> str:
    """SVG: for every figure and arm a dot a seed, and a line at their mean."""
    parts: list[Element] = []
    top = 0.0
    for name, by_arm in result.figures.items():
        parts += _panel(name, by_arm, top)
        top += _TITLE + _ROW * (len(by_arm) + 0.5)
    svg = element("svg", *parts, viewBox=f"0 0 {_WIDTH} {top:g}", role="img", font_family="sans-serif", font_size=12)
    svg.set("xmlns", "http://www.w3.org/2000/svg")
    return tostring(svg, encoding="unicode") + "\n"


def _panel(name: str, by_arm: dict[str, list[float]], top: float) -> list[Element]:
    values = [value for of_arm in by_arm.values() for value in of_arm]
    low, high = min(values), max(values)
    span = high - low or abs(high) or 1.0

    def x(value: float) -> float:
        return _LEFT + 10 + (_WIDTH - _LEFT - _RIGHT - 20) * (value - low) / span

    parts = [element("text", name, x=_LEFT, y=top + 18, font_weight="bold")]
    for place, (arm, of_arm) in enumerate(by_arm.items()):
        y, mean = top + _TITLE + _ROW * (place + 0.5), statistics.fmean(of_arm)
        parts += [
            element("text", arm, x=_LEFT - 8, y=y + 4, text_anchor="end"),
            element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, stroke="#ddd"),
            element("line", x1=x(mean), x2=x(mean), y1=y - 9, y2=y + 9, stroke="#c33", stroke_width=2),
            *(element("circle", cx=x(value), cy=y, r=4, fill="#246", fill_opacity=0.6) for value in of_arm),
            element("text", f"{mean:.4g}", x=_WIDTH - _RIGHT + 8, y=y + 4),
        ]
    return parts


def _spread(values: Sequence[float]) -> str:
    mean = statistics.fmean(values)
    # Losses with four places, bytes without.
    form = ",.0f" if abs(mean) >= 1e5 else ".4f"
    return f"{mean:{form}} ± {statistics.stdev(values):{form}}" if len(values) > 1 else f"{mean:{form}}"


def _table(rows: Sequence[dict[str, object]]) -> str:
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([str(row[name]).replace("|", "\\|") for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
