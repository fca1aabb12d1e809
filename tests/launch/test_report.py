"""`polytrain report`: the page says what the run folder says, whatever state that is in."""

from __future__ import annotations

import itertools
import json
import math
import re
from array import array
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from launch.cli import main
from launch.report import charts
from launch.report.charts import FRAME
from launch.report.curves import Curve, thin
from launch.report.markup import element, html
from tests.conftest import ROOT
from train.recipe import load_recipe

Row = dict[str, Any]
NASTY = "</script><script>window.harmed = 1</script><img src=x onerror='window.harmed=1'> & \" ' \u2028 \ud800"


def row(step: int, **figures: Any) -> Row:
    return {
        "step": step,
        "loss": 9 - step / 10,
        "lr": 1e-3,
        "grad_norm": 1.5,
        "samples": 4 * step,
        "tokens": 100 * step,
        "tokens_per_s": 50.0,
        "data_wait_s": 0.2,
        "step_s": 2.0,
        "rss_mb": 100.0 + step,
        "bad_samples": 0,
        "data_digest": "00",
        **figures,
    }


MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """A run folder with these rows; None leaves a file out."""

    def make(name: str, rows: list[Row] | None, *overrides: str, environment: Row | None = None) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        recipe = load_recipe(ROOT / "configs/quickstart.yaml", [f"run={folder}", "train.steps=30", *overrides])
        (folder / "config.yaml").write_text(recipe.yaml())
        if rows is not None:
            (folder / "metrics.jsonl").write_text("".join(json.dumps(item) + "\n" for item in rows))
        if environment is not None:
            (folder / "environment.json").write_text(json.dumps(environment))
        return folder

    return make


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, the text, the data."""

    VOID = {"meta", "input", "br", "img", "link"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.data = ""
        self.cells: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        elif tag in ("td", "th"):
            self.cells[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            is_data = self.of("script")[-1].get("type") == "application/json"
            self.data += data if is_data else ""
        elif self.open and self.open[-1] != "style":
            self.text += data
            if {"td", "th"} & set(self.open):
                self.cells[-1][-1] += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def row(self, name: str) -> list[str]:
        (found,) = (cells for cells in self.cells if cells and cells[0] == name)
        return found[1:]

    def charts(self) -> dict[str, list[Row]]:
        return {chart["id"]: chart["curves"] for chart in json.loads(self.data)["charts"]}


def report(*runs: Path) -> Page:
    output = runs[0].parent / "page.html"
    assert main(["report", *map(str, runs), "-o", str(output)]) == 0
    return Page(output.read_text())


def test_curves_are_what_metrics_says(make_run: MakeRun) -> None:
    rows = [row(step, mfu=0.4, loss=None if step == 20 else 9 - step / 10) for step in (10, 20, 30)]
    rows.insert(0, {"step": 0, "probe": "validation", "loss": 8.123456789, "targets": 7})
    rows.append({"step": 30, "probe": "validation", "loss": 4.5, "targets": 7})
    page = report(make_run("run", rows))
    found = page.charts()
    assert list(found)[:2] == ["/loss", "/lr"]
    assert found["/loss"] == [{"run": 0, "steps": [10, 20, 30], "values": [8.0, None, 6.0], "means": None}]
    assert found["validation/loss"][0]["values"] == [8.12346, 4.5]
    for key in rows[1].keys() - {"step", "samples", "tokens", "data_digest"}:
        assert found[f"/{key}"][0]["values"] == [item[key] for item in rows if "probe" not in item]
    drawn = {attributes["data-chart"] for attributes in page.of("svg")}
    assert drawn == found.keys()
    assert len(page.of("title")) == 1 + len(drawn)
    assert len(page.of("desc")) == len(drawn)


def test_tables_hold_every_digit(make_run: MakeRun) -> None:
    rows = [row(10, loss=7.000000001), row(20, loss=8.123456789012345), row(30, loss=6.5)]
    page = report(make_run("run", rows))
    assert page.row("Loss") == ["7 at 10", "6.5 at 30", "6.5 at 30", "8.1235 at 20", "", "3"]
    assert {"value": repr(8.123456789012345)} in page.of("data")
    # 30 steps of 2 s, of which 0.2 s are waiting, for 3,000 tokens.
    assert page.row("run") == ["50", "50", "50", "2 s", "10.00%", "130 MB"]
    for text in ("30 of 30", "Training time1 min 0 s", "Tokens3,000"):
        assert text in page.text


def test_drawn_points_are_where_the_values_say(make_run: MakeRun, tmp_path: Path) -> None:
    values = [8.0, 2.0, 5.0, None, 3.0]
    report(make_run("run", [row(step, loss=loss) for step, loss in zip((6, 12, 18, 24, 30), values, strict=True)]))
    svg = re.findall(r'<svg[^>]*data-chart="/loss".*?</svg>', (tmp_path / "page.html").read_text(), re.DOTALL)[0]
    paths = {path.get("class"): path.get("d") or "" for path in ElementTree.fromstring(svg).iter("path")}
    places = [tuple(map(float, place)) for place in re.findall(r"([\d.]+) ([\d.]+)", paths["curve run-0"])]
    width, height = FRAME["width"] - FRAME["left"] - FRAME["right"], FRAME["height"] - FRAME["top"] - FRAME["bottom"]
    finite = [(step, loss) for step, loss in zip((6, 12, 18, 24, 30), values, strict=True) if loss is not None]
    for (x, y), (step, loss) in zip(places, finite, strict=True):
        assert x == pytest.approx(FRAME["left"] + width * step / 30, abs=0.06)
        # 5% of the span lie below the smallest value and above the largest.
        assert y == pytest.approx(FRAME["top"] + height * (8.3 - loss) / 6.6, abs=0.06)
    assert re.sub(r"[\d. ]", "", paths["curve run-0"]) == "MLLM"
    assert paths["missing run-0"].startswith(f"M{FRAME['left'] + width * 24 / 30:.1f} ")


def test_nothing_a_run_holds_becomes_markup(make_run: MakeRun) -> None:
    harmless = report(make_run("plain", [row(30)], environment={"host": "a"}))
    run = make_run(
        "nasty</script><b>",
        [
            row(30, **{NASTY: 1.0}),
            {"step": 30, "probe": NASTY, NASTY: 1.0, "prompt": NASTY, "text": NASTY, "other": NASTY},
        ],
        environment={"host": NASTY, NASTY: [NASTY], "starts": [{"step": 3, "time": NASTY, NASTY: NASTY}]},
    )
    (run / "bad_samples").mkdir()
    (run / "bad_samples/rank-00000.jsonl").write_text(json.dumps({"step": 1, "error": NASTY}) + "\n")
    page = report(run)
    assert len(page.of("script")) == len(harmless.of("script")) == 2
    assert not page.of("img")
    assert len(page.of("b")) == 1  # the prompt
    assert page.text.count(NASTY.replace("\ud800", "?")) >= 9
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


def test_the_page_needs_nothing_but_itself(make_run: MakeRun, tmp_path: Path) -> None:
    page = report(make_run("run", [row(30)]))
    assert not page.of("link")
    for _, attributes in page.elements:
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    text = (tmp_path / "page.html").read_text()
    assert set(re.findall(r"https?://[^\"'\s<)]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\((?!#)", text)
    (policy,) = (meta["content"] for meta in page.of("meta") if "http-equiv" in meta)
    assert policy is not None
    assert policy.startswith("default-src 'none';")


@pytest.mark.parametrize("num_rows", [1, 10, 100_003])
def test_thinning_keeps_what_a_pixel_shows(num_rows: int) -> None:
    generator = np.random.default_rng(0)
    values_N = generator.normal(size=num_rows).cumsum()
    values_N[num_rows // 3] = 1e6
    values_N[num_rows // 2] = -1e6
    steps_N = np.arange(num_rows) * 7 + 3
    found = thin(Curve(steps_N, values_N), 100)
    kept = dict(zip(found.points.steps.tolist(), found.points.values.tolist(), strict=True))
    assert len(kept) <= 500
    assert kept.items() <= dict(zip(steps_N.tolist(), values_N.tolist(), strict=True)).items()
    # By definition, column by column, without a word in common with the code: ranges of equal length.
    edges = np.linspace(3, steps_N[-1] + 1, 101)
    for low, high in itertools.pairwise(edges):
        inside = [value for step, value in zip(steps_N, values_N, strict=True) if low <= step < high]
        shown = [value for step, value in kept.items() if low <= step < high]
        if inside:
            assert (min(shown), max(shown), shown[0], shown[-1]) == (min(inside), max(inside), inside[0], inside[-1])
    if found.means is not None:
        assert found.means.values.mean() == pytest.approx(values_N.mean(), abs=25)


def test_thinning_keeps_gaps() -> None:
    values_N = np.sin(np.arange(50_000) / 100)
    values_N[20_000:30_000] = np.nan
    values_N[40_000] = np.nan
    points = thin(Curve(np.arange(50_000), values_N), 100).points
    missing = points.steps[np.isnan(points.values)]
    assert 20_000 in missing
    assert 40_000 in missing
    assert missing[(missing > 20_000) & (missing < 30_000)].size > 10


def test_a_million_rows_make_a_small_page(monkeypatch: pytest.MonkeyPatch, make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("run", [])
    generator = np.random.default_rng(0)
    steps = array("q", range(1_000_000))
    names = [("", key) for key in charts.TITLES] + [("probe", f"figure_{index}") for index in range(12)]
    curves = {name: Curve.of(steps, array("d", generator.lognormal(size=1_000_000))) for name in names}
    monkeypatch.setattr("launch.report.runs.read_metrics", lambda _: _metrics(curves))
    page = report(run)
    assert (tmp_path / "page.html").stat().st_size < 2_000_000
    (drawn,) = page.charts()["/loss"]
    assert max(drawn["values"]) == float(f"{curves['', 'loss'].values.max():.6g}")


def _metrics(curves: dict[tuple[str, str], Curve]) -> Any:
    from launch.report.runs import Metrics

    return Metrics(curves)


def test_several_runs_share_their_charts(make_run: MakeRun) -> None:
    first = make_run("first", [row(step) for step in (10, 20, 30)])
    second = make_run("second", [row(step, extra=1.0) for step in (15, 45)], "optimizer.lr=0.5", "model.dim=96")
    page = report(first, second)
    found = page.charts()
    assert [curve["run"] for curve in found["/loss"]] == [0, 1]
    assert [curve["steps"] for curve in found["/loss"]] == [[10, 20, 30], [15, 45]]
    assert [curve["run"] for curve in found["/extra"]] == [1]
    assert page.row("optimizer.lr") == ["0.002", "0.5"]
    assert page.row("model.dim") == ["192", "96"]
    keys = [cells[0] for cells in page.cells if len(cells) == 3 and "." in cells[0]]
    assert sorted(keys) == ["model.dim", "optimizer.lr"]
    assert page.row("Loss (second)")[0] == "7.5 at 15"
    legend = page.text.split("all steps")[1][:200]
    assert "first" in legend
    assert "second" in legend


def test_runs_of_the_same_name_are_told_apart(make_run: MakeRun) -> None:
    runs = [make_run(f"{parent}/run", [row(30)]) for parent in "ab"]
    assert [item["label"] for item in json.loads(report(*runs).data)["runs"]] == list(map(str, runs))


def test_starts_are_marked(make_run: MakeRun) -> None:
    starts = [{"step": step, "time": f"T{step}", "world_size": 2, "host": "h"} for step in (0, 10, 20)]
    environment = {"host": "h", "packages": {"torch": "2", "flash-attn": None}, "starts": starts}
    page = report(make_run("run", [row(30)], environment=environment))
    marks = [line for line in page.of("line") if line.get("class") == "start run-0"]
    assert len(marks) == 2 * len(page.charts())
    assert page.row("2") == ["10", "T10", "2", "h"]
    assert page.row("packages.torch") == ["2"]
    assert page.row("packages.flash-attn") == ["not installed"]


def test_samples_are_shown_by_step(make_run: MakeRun) -> None:
    rows = [row(step) for step in range(1, 31)]
    rows += [{"step": step, "probe": "story", "prompt": "Once ", "text": f"upon {step}."} for step in range(1, 31)]
    page = report(make_run("run", rows))
    assert "Once upon 30." in page.text
    assert "Once upon 1." in page.text
    assert page.text.index("upon 30.") < page.text.index("upon 1.")
    assert "20 of 30 steps" in page.text
    assert [detail for detail in page.of("details") if "open" in detail] == [{"open": ""}]


def test_checkpoints_and_bad_samples_are_listed(make_run: MakeRun) -> None:
    run = make_run("run", [row(30)])
    for name, size in {"step-00000010": 3_000_000, "step-00000020": 5_000_000, "step-00000030.partial": 1}.items():
        (run / "checkpoints" / name).mkdir(parents=True)
        (run / "checkpoints" / name / "rank-00000.safetensors").write_bytes(bytes(size))
    (run / "bad_samples").mkdir()
    bad = {"step": 4, "position": 17, "sample": "a.tar:9", "replaced_by": 18, "error": "not a JPEG"}
    (run / "bad_samples/rank-00001.jsonl").write_text(json.dumps(bad) + "\n" + '{"step": 5, "po')
    page = report(run)
    assert page.row("10")[:3] == ["run", "3.0 MB", "1"]
    assert page.row("20")[:3] == ["run", "5.0 MB", "1"]
    assert not [cells for cells in page.cells if cells and cells[0] == "30"]
    assert page.row("4") == ["17", "a.tar:9", "18", "not a JPEG"]
    assert "1 samples could not be read" in page.text


def test_a_run_that_has_not_come_far_says_so(make_run: MakeRun) -> None:
    page = report(make_run("started", None))
    assert "There is no metrics.jsonl" in page.text
    assert "environment.json cannot be read" in page.text
    assert "Nothing has been measured yet" in page.text
    assert "metrics.jsonl is empty" in report(make_run("empty", [])).text
    run = make_run("cut", [row(10)])
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 20, "lo')
    page = report(run)
    assert "Not finished: step 10 of 30" in page.text
    assert "is cut short" in page.text
    assert "No probe has measured anything" in page.text
    assert page.charts()["/loss"][0]["steps"] == [10]
    probe_only = report(make_run("before", [{"step": 0, "probe": "validation", "loss": 8.5, "targets": 3}]))
    assert probe_only.charts()["validation/loss"][0]["values"] == [8.5]


@pytest.mark.parametrize("values", [[None, None], [1e308, -1e308], [0.0, 0.0], [5e-324, 0.0], [1e300, 1e300]])
def test_odd_values_are_drawn(values: list[float | None], make_run: MakeRun, tmp_path: Path) -> None:
    page = report(make_run("run", [row(step, loss=loss) for step, loss in zip((10, 30), values, strict=True)]))
    assert page.charts()["/loss"][0]["values"] == values
    drawn = re.findall(r' d="([^"]*)"', (tmp_path / "page.html").read_text())
    assert drawn
    assert not re.search(r"nan|inf", "".join(drawn))


def test_what_a_device_does_not_have_is_no_chart(make_run: MakeRun) -> None:
    page = report(make_run("run", [row(10, mfu=None), row(20, mfu=None)]), make_run("other", [row(10, mfu=None)]))
    assert "/mfu" not in page.charts()
    page = report(make_run("cpu", [row(10, mfu=None)]), make_run("gpu", [row(10, mfu=0.4)]))
    assert [curve["values"] for curve in page.charts()["/mfu"]] == [[None], [0.4]]


def test_a_finished_run_needs_no_excuse(make_run: MakeRun) -> None:
    rows = [row(30), {"step": 30, "probe": "validation", "loss": 4.5, "targets": 7}]
    page = report(make_run("run", rows, environment={"host": "a", "starts": []}))
    assert not [item for item in page.of("p") if item.get("class") == "note"]


def test_a_recipe_of_another_version_is_reported(make_run: MakeRun) -> None:
    run = make_run("run", [row(30)])
    tree = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(tree | {"a_key_of_later": {"kind": "unheard.of:Class"}}))
    assert "unheard.of:Class" in report(run).text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere"], "nowhere: not a run folder"),
        (["run", "nowhere"], "nowhere: not a run folder"),
        (["run", "-o", "run/config.yaml"], "expected a name that ends in .html"),
        (["run", "-o", "nowhere/page.html"], "cannot be written"),
    ],
)
def test_what_cannot_be_reported_gives_one_message(
    arguments: list[str],
    expected: str,
    make_run: MakeRun,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(make_run("run", [row(30)]).parent)
    assert main(["report", *arguments]) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(("low", "high"), [(0, 1), (3.99, 7.6), (-1e-7, 2e-7), (-5e5, 1e9), (0.05, 0.052)])
def test_ticks_are_round_and_within(low: float, high: float) -> None:
    found = charts.ticks(low, high, 5)
    assert 3 <= len(found) <= 7
    rounding = 1e-9 * (high - low)
    assert all(low - rounding <= value <= high + rounding for value in found)
    steps = {f"{step:.3g}" for step in np.diff(found)}
    assert len(steps) == 1
    assert f"{float(steps.pop()):e}"[0] in "125"


def test_text_around_elements_stays_in_place() -> None:
    made = element("p", "a<", element("b", "c"), "d&", "e", element("i"), None, class_="x", data_id=None)
    assert html(made) == '<p class="x">a&lt;<b>c</b>d&amp;e<i></i></p>'
    assert math.isclose(float(html(element("q", data_n=0.1)).split('"')[1]), 0.1)
