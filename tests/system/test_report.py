"""The report of a real run in a real browser: drawn, with and without its script, and alive."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from launch.cli import main
from tests.conftest import Trainer
from tests.system.browser import Browser, find_browser

pytestmark = pytest.mark.processes

Rectangle = dict[str, float]
_STEPS = 12
_NUMBER = r"-?[\d.]+"
_BOXES = """
[...document.querySelectorAll('svg[data-chart]')].map((svg) => ({
  chart: svg.dataset.chart,
  frame: svg.getBoundingClientRect().toJSON(),
  curve: svg.querySelector('path.curve').getBoundingClientRect().toJSON(),
  colour: getComputedStyle(svg.querySelector('path.curve')).stroke,
}))
"""


@pytest.fixture(scope="module")
def page(shared_trainer: Trainer) -> Path:
    """The report of a run with a sample that would like to be a script."""
    find_browser()
    nasty = "</script><script>document.title = 'harmed'</script><img src=x onerror=\"document.title='harmed'\">"
    small = ["engine.kind=accelerate", "batch.global=4", "batch.micro=4", f"train.steps={_STEPS}"]
    shared_trainer.train(*small, f"probes.sample.prompt={nasty}", ranks=0, run="report")
    return _report(shared_trainer.folder / "report")


def _report(*runs: Path) -> Path:
    output = runs[-1].with_suffix(".html")
    assert main(["report", *map(str, runs), "-o", str(output)]) == 0
    return output


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest, browser: Browser) -> str:
    features = [{"name": "prefers-color-scheme", "value": request.param}]
    browser.call("Emulation.setEmulatedMedia", features=features)
    return str(request.param)


def _open(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.errors() == []
    assert browser.requests() == [page.as_uri()]


def _boxes(browser: Browser) -> dict[str, dict[str, Any]]:
    return {item["chart"]: item for item in browser.evaluate(_BOXES)}


def test_curves_are_seen_in_light_and_dark(browser: Browser, page: Path, scheme: str) -> None:
    _open(browser, page)
    _require_drawn(browser, _boxes(browser), scheme)


def test_without_its_script_the_page_shows_them_too(browser: Browser, page: Path, scheme: str) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page)
        assert browser.evaluate_now("document.getElementById('tools').checkVisibility()") is False
        _require_drawn(browser, {item["chart"]: item for item in browser.evaluate_now(_BOXES)}, scheme)
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def _require_drawn(browser: Browser, found: dict[str, dict[str, Any]], scheme: str) -> None:
    assert {"/loss", "/lr", "validation/loss"} <= found.keys()
    for item in found.values():
        frame, curve = item["frame"], item["curve"]
        assert frame["left"] <= curve["left"] < curve["right"] <= frame["right"], item
        assert frame["top"] <= curve["top"] <= curve["bottom"] <= frame["bottom"], item
        assert curve["width"] > 0.6 * frame["width"], item
    loss = found["/loss"]
    assert loss["curve"]["height"] > 0.5 * loss["frame"]["height"]
    image_HWC = np.asarray(Image.open(io.BytesIO(browser.screenshot())).convert("RGB")).astype(float)
    background = np.median(image_HWC, axis=(0, 1))
    assert (background.mean() < 60) == (scheme == "dark")
    # A line wider than a pixel covers at least half of one in every column it crosses.
    edges = {name: round(loss["curve"][name]) for name in ("left", "right", "top", "bottom")}
    plot_HWC = image_HWC[edges["top"] : edges["bottom"], edges["left"] + 1 : edges["right"] - 1] - background
    line = np.array([float(part) for part in re.findall(r"\d+", loss["colour"])]) - background
    share_HW = plot_HWC @ line / (line @ line)
    assert (share_HW.max(axis=0) > 0.4).all()
    assert (share_HW < 0.4).mean() > 0.8


def test_the_script_draws_what_was_drawn(browser: Browser, page: Path) -> None:
    _open(browser, page)
    drawn = "[...document.querySelectorAll('svg[data-chart] :is(path, text)')]"
    seen = f"{drawn}.map((item) => [item.className.baseVal, item.textContent, item.getAttribute('d') ?? ''])"
    before = browser.evaluate(seen)
    assert len(before) > 50
    browser.evaluate(f"{drawn}.forEach((item) => item.remove())")
    _click(browser, "button[name=all]")
    for (*words, path), (*words_before, path_before) in zip(browser.evaluate(seen), before, strict=True):
        assert words == words_before
        assert re.sub(_NUMBER, "", path) == re.sub(_NUMBER, "", path_before)
        # Both round to a tenth of a unit, the script from six digits.
        numbers = [[float(number) for number in re.findall(_NUMBER, text)] for text in (path, path_before)]
        assert np.abs(np.subtract(*numbers)).max(initial=0) < 0.101
    assert browser.errors() == []


def test_hover_shows_step_and_value(browser: Browser, page: Path, shared_trainer: Trainer) -> None:
    _open(browser, page)
    rows = {row["step"]: row for row in shared_trainer.rows("report") if "probe" not in row}
    frame = _boxes(browser)["/loss"]["frame"]
    for step in (1, 7, 12):
        browser.mouse("mouseMoved", *_place(browser, frame, step))
        lines = _tip(browser, "/loss").splitlines()
        assert lines[0] == f"step {step}"
        assert float(lines[1]) == pytest.approx(rows[step]["loss"], rel=1e-4)
    browser.mouse("mouseMoved", 1, 1)
    assert _tip(browser, "/loss") is None
    browser.evaluate("document.querySelector('svg[data-chart=\"/loss\"]').focus()")
    for expected in ("step 1", "step 2"):
        browser.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowRight", code="ArrowRight")
        assert _tip(browser, "/loss").splitlines()[0] == expected
    assert browser.errors() == []


def test_hover_names_every_run(browser: Browser, page: Path, tmp_path: Path, shared_trainer: Trainer) -> None:
    shorter = tmp_path / "shorter"
    shorter.mkdir()
    run = page.with_suffix("")
    (shorter / "config.yaml").write_bytes((run / "config.yaml").read_bytes())
    (shorter / "metrics.jsonl").write_text(json.dumps({"step": 5, "loss": 3.25}) + "\n")
    _open(browser, _report(run, shorter))
    browser.mouse("mouseMoved", *_place(browser, _boxes(browser)["/loss"]["frame"], 9))
    (loss,) = (row["loss"] for row in shared_trainer.rows("report") if row["step"] == 9)
    step, longer, other = _tip(browser, "/loss").splitlines()
    assert (step, other) == ("step 9", "shorter: 3.25 (step 5)")
    assert float(longer.removeprefix("report: ")) == pytest.approx(loss, rel=1e-4)
    assert browser.errors() == []


def test_dragging_zooms_all_charts_and_back(browser: Browser, page: Path) -> None:
    _open(browser, page)
    whole = _boxes(browser)
    frame = whole["/loss"]["frame"]
    start, end = _place(browser, frame, 3), _place(browser, frame, 9)
    browser.mouse("mouseMoved", *start)
    browser.mouse("mousePressed", *start, button="left", buttons=1, clickCount=1)
    browser.mouse("mouseMoved", *end, button="left", buttons=1)
    browser.mouse("mouseReleased", *end, button="left", clickCount=1)
    fields = "[...document.querySelectorAll('#tools [type=number]')].map((field) => field.valueAsNumber)"
    assert browser.evaluate(fields) == [3, 9]
    zoomed = _boxes(browser)
    for chart in ("/loss", "/lr"):
        # Steps 1 to 12 over the width of six.
        assert zoomed[chart]["curve"]["width"] == pytest.approx(2 * whole[chart]["curve"]["width"], rel=0.01)
    browser.mouse("mouseMoved", *_place(browser, frame, 6))
    assert _tip(browser, "/loss").startswith("step 6\n")
    _click(browser, "button[name=all]")
    assert browser.evaluate(fields) == [0, _STEPS]
    assert _boxes(browser)["/loss"]["curve"] == whole["/loss"]["curve"]
    assert browser.errors() == []


def test_logarithm_and_smoothing_keep_the_raw_curve(browser: Browser, page: Path, shared_trainer: Trainer) -> None:
    _open(browser, page)
    linear = _ys(browser, "/loss", "curve")
    _click(browser, "input[name=log]")
    logarithmic = _ys(browser, "/loss", "curve")
    losses = [row["loss"] for row in shared_trainer.rows("report") if "probe" not in row]
    for ys, values in ((linear, losses), (logarithmic, np.log(losses).tolist())):
        # An affine function of the values, or of their logarithms.
        assert np.abs(np.corrcoef(ys, values)[0, 1]) > 0.99999
    remark = "document.querySelector('svg[data-chart=\"/bad_samples\"]').closest('figure').textContent"
    assert "linear: not all values are positive" in browser.evaluate(remark)
    _click(browser, "input[name=log]")
    browser.evaluate(
        "(() => { const field = document.querySelector('input[name=smoothing]'); field.value = 0.9;"
        " field.dispatchEvent(new Event('input')) })()"
    )
    smooth = _ys(browser, "/loss", "smooth")
    assert _ys(browser, "/loss", "curve") == linear
    # The same mean, from its definition: weights fall by e over 0.9^2 * 0.2 of the run.
    span = 0.9**2 * 0.2 * _STEPS
    expected = [np.average(linear[: i + 1], weights=np.exp(np.arange(-i, 1) / span)) for i in range(_STEPS)]
    assert smooth == pytest.approx(expected, abs=0.12)
    opacity = "getComputedStyle(document.querySelector('svg[data-chart=\"/loss\"] .curve')).opacity"
    assert 0.1 < float(browser.evaluate(opacity)) < 1
    assert browser.errors() == []


def test_a_sample_that_is_markup_does_nothing(browser: Browser, page: Path) -> None:
    _open(browser, page)
    assert browser.evaluate("document.title") == "report"
    assert "</script><script>" in browser.evaluate("document.querySelector('#samples pre').textContent")
    # Were it not escaped, the page's policy would still refuse it.
    browser.evaluate(
        "(() => { const made = document.createElement('script'); made.textContent = 'document.title = 1';"
        " document.body.append(made) })()"
    )
    assert browser.evaluate("document.title") == "report"
    assert browser.errors() != []


def test_printing_opens_what_is_folded_and_hides_the_tools(browser: Browser, page: Path) -> None:
    _open(browser, page)
    items = "[document.querySelector('#configuration pre'), document.getElementById('tools')]"
    shown = f"{items}.map((item) => item.checkVisibility({{contentVisibilityAuto: true}}))"
    assert browser.evaluate(shown) == [False, True]
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert browser.evaluate(shown) == [True, False]
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")


def test_a_run_without_measurements_has_no_errors(browser: Browser, page: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").write_bytes((page.with_suffix("") / "config.yaml").read_bytes())
    _open(browser, _report(tmp_path / "run"))
    assert "Nothing has been measured yet" in browser.evaluate("document.body.textContent")


def _place(browser: Browser, frame: Rectangle, step: int) -> tuple[float, float]:
    """Where a step of the whole run lies on the screen."""
    data = json.loads(browser.evaluate("document.getElementById('data').textContent"))["frame"]
    across = data["left"] + (data["width"] - data["left"] - data["right"]) * step / _STEPS
    return frame["left"] + frame["width"] * across / data["width"], (frame["top"] + frame["bottom"]) / 2


def _tip(browser: Browser, chart: str) -> Any:
    """What is shown beside the pointer; None where nothing is."""
    tip = f"document.querySelector('svg[data-chart=\"{chart}\"]').closest('figure').querySelector('.tip')"
    return browser.evaluate(f"{tip}.checkVisibility() ? {tip}.textContent : null")


def _click(browser: Browser, selector: str) -> None:
    box = browser.evaluate(f"document.querySelector('{selector}').getBoundingClientRect().toJSON()")
    x, y = box["left"] + box["width"] / 2, box["top"] + box["height"] / 2
    browser.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)
    browser.mouse("mouseReleased", x, y, button="left", clickCount=1)


def _ys(browser: Browser, chart: str, kind: str) -> list[float]:
    """Heights of the points of a line, in units of the drawing."""
    line = browser.evaluate(f"document.querySelector('svg[data-chart=\"{chart}\"] path.{kind}').getAttribute('d')")
    return [float(place.split(" ")[1]) for place in line.replace("M", "L").split("L")[1:]]
