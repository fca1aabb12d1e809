"""The page: one HTML file with its style, its script and its data in it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any
from xml.etree.ElementTree import Element

from launch.report import sections
from launch.report.charts import FRAME, LARGEST, MAX_DOTS, NUM_COLOURS, Chart, charts, drawing, start_text
from launch.report.markup import Child, element, html, table
from launch.report.runs import Run


def page(runs: Sequence[Run]) -> str:
    """The report of runs: charts they share, and the rest of each."""
    found, last_step = charts(runs), max(run.last_step for run in runs)
    script = _file("report.js")
    return Template(_file("template.html")).substitute(
        title=escape(_title(runs)),
        style=_file("report.css"),
        body="\n".join(html(part) for part in _body(runs, found, last_step)),
        data=_json_in_html(_data(runs, found, last_step)),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _title(runs: Sequence[Run]) -> str:
    return ", ".join(run.label for run in runs)


def _body(runs: Sequence[Run], found: Sequence[Chart], last_step: int) -> list[Element]:
    several = len(runs) > 1
    parts: dict[str, Iterable[Child]] = {
        "Curves": _curves(runs, found, last_step) if found else [element("p", "Nothing has been measured yet.")],
        "Values": [sections.last_values(found, runs)] if found else [],
        "Throughput": [sections.throughput(runs)] if found else [],
        "Samples": sections.samples(runs) if any(run.metrics.samples for run in runs) else [],
        "Differences": [sections.recipe_differences(runs)] if several else [],
        "Configuration": sections.recipes(runs),
        "Environment": sections.environments(runs),
        "Checkpoints": [sections.checkpoints(runs)],
        "Bad samples": sections.bad_samples(runs),
    }
    made = {name: list(children) for name, children in parts.items()}
    shown = {name: children for name, children in made.items() if children}
    links = [element("a", name, href=f"#{_id(name)}") for name in shown]
    return [
        element("header", element("h1", _title(runs)), *_facts(runs), *_notes(runs), element("nav", *links)),
        element(
            "main",
            *(element("section", element("h2", name), *children, id=_id(name)) for name, children in shown.items()),
        ),
    ]


def _id(name: str) -> str:
    return name.lower().replace(" ", "-")


def _facts(runs: Sequence[Run]) -> list[Element]:
    every = [sections.facts(run) for run in runs]
    if len(runs) == 1:
        items = (element("div", element("dt", name), element("dd", value)) for name, value in every[0].items())
        return [element("dl", *items, class_="facts")]
    names = list(dict.fromkeys(name for found in every for name in found))
    rows = [[run.label, *(found.get(name, "-") for name in names)] for run, found in zip(runs, every, strict=True)]
    return [table(["Run", *names], rows, caption="Where each run stands")]


def _notes(runs: Sequence[Run]) -> list[Element]:
    several = len(runs) > 1
    return [
        element("p", (f"{run.label}: " if several else "") + note, class_="note") for run in runs for note in run.notes
    ]


def _curves(runs: Sequence[Run], found: Sequence[Chart], last_step: int) -> list[Element]:
    """The tools, which the script shows; a legend; charts of training steps, then of each probe."""
    made = [_tools(), *([_legend(runs)] if len(runs) > 1 else [])]
    numbered = list(enumerate(found))
    for probe in dict.fromkeys(chart.probe for chart in found):
        if probe:
            made.append(element("h3", f"Probe {probe}"))
        figures = [
            element("figure", element("h3", chart.title), drawing(chart, runs, last_step, number))
            for number, chart in numbered
            if chart.probe == probe
        ]
        made.append(element("div", *figures, class_="charts"))
    if any(thinned.means is not None for chart in found for _, _, thinned in chart.curves):
        made.append(element("p", "Long curves show the extremes of each column of pixels.", class_="faint"))
    return made


def _tools() -> Element:
    def field(label: str, name: str, kind: str, **attributes: object) -> Element:
        return element("label", f"{label} ", element("input", name=name, type=kind, **attributes))

    return element(
        "form",
        field("logarithmic", "log", "checkbox"),
        field("smoothing", "smoothing", "range", min=0, max=1, step=0.01, value=0),
        field("steps", "from", "number", min=0),
        field("to", "to", "number", min=0),
        element("button", "all steps", name="all", type="button"),
        element("span", "Drag across a chart to zoom; arrow keys move along it.", class_="faint"),
        id="tools",
        class_="tools box",
        hidden="",
    )


def _legend(runs: Sequence[Run]) -> Element:
    items = []
    for index, run in enumerate(runs):
        line = element("path", d="M0 4h20", class_=f"run-{index % NUM_COLOURS}")
        items.append(element("li", element("svg", line, viewBox="0 0 20 8", aria_hidden="true"), run.label))
    return element("ul", *items, class_="legend")


def _data(runs: Sequence[Run], found: Sequence[Chart], last_step: int) -> dict[str, Any]:
    """What report.js needs."""
    starts = [
        [{"step": start["step"], "text": start_text(start)} for start in run.starts if start["step"] > 0]
        for run in runs
    ]
    return {
        "frame": FRAME,
        "numColours": NUM_COLOURS,
        "maxDots": MAX_DOTS,
        "largest": LARGEST,
        "lastStep": last_step,
        "runs": [{"label": run.label, "starts": found} for run, found in zip(runs, starts, strict=True)],
        "charts": [chart.data() for chart in found],
    }


def _json_in_html(tree: Any) -> str:
    """JSON that cannot end the element it stands in."""
    return json.dumps(tree, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _file(name: str) -> str:
    return files("launch.report").joinpath(name).read_text()
