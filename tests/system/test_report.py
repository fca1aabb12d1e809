"""The report of a real run in a real browser: drawn, with and without its script, and alive."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Trainer
from tests.system.browser import Browser, find_browser

pytestmark = pytest.mark.processes

Rectangle = dict[str, float]
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
    """The report of a run that was started and resumed, with a sample that would like to be a script."""
    find_browser()
    short = ["engine.kind=accelerate", "batch.global=4", "batch.micro=4", "checkpoint.every=6"]
    nasty = "</script><script>document.title = 'harmed'</script><img src=x onerror=\"document.title='harmed'\">"
    prompt = f"probes.sample.prompt={nasty}"
    shared_trainer.train(*short, prompt, "train.steps=6", ranks=0, run="report")
    shared_trainer.train(*short, prompt, "train.steps=12", ranks=0, run="report")
    run, output = shared_trainer.folder / "report", shared_trainer.folder / "report.html"
    from launch.cli import main

    assert main(["report", str(run), "-o", str(output)]) == 0
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


def _pixels(browser: Browser, box: Rectangle) -> Any:
    image = np.asarray(Image.open(io.BytesIO(browser.screenshot())).convert("RGB")).astype(int)
    top, left = int(box["top"]), int(box["left"])
    return image[top : top + int(box["height"]), left : left + int(box["width"])]


def _num_near(pixels: Any, colour: str) -> int:
    wanted = [int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    return int((np.abs(pixels - wanted).max(axis=-1) < 12).sum())


def test_curves_are_seen_in_light_and_dark(browser: Browser, page: Path, scheme: str) -> None:
    _open(browser, page)
    found = _boxes(browser)
    assert {"/loss", "/lr", "validation/loss"} <= found.keys()
    for item in found.values():
        frame, curve = item["frame"], item["curve"]
        assert frame["left"] <= curve["left"] < curve["right"] <= frame["right"], item
        assert frame["top"] <= curve["top"] <= curve["bottom"] <= frame["bottom"], item
        assert curve["width"] > 0.6 * frame["width"], item
    loss = found["/loss"]
    assert loss["curve"]["height"] > 0.5 * loss["frame"]["height"]
    pixels = _pixels(browser, loss["frame"])
    # The background is as the scheme says, and the line crosses the plot: it is seen at most of its columns.
    assert (np.median(pixels) < 60) == (scheme == "dark")
    assert _num_near(pixels, loss["colour"]) > 0.6 * loss["frame"]["width"]


def test_without_its_script_the_page_shows_the_same(browser: Browser, page: Path, scheme: str) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page)
        without = Image.open(io.BytesIO(browser.screenshot()))
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
    _open(browser, page)
    drawn = _boxes(browser)["/loss"]
    # What it then has no use for takes no room: the first chart stands higher by the height of the tools.
    tools = browser.evaluate(
        "(() => { const tools = document.getElementById('tools'), margins = getComputedStyle(tools);"
        " return tools.getBoundingClientRect().height + parseFloat(margins.marginBottom) })()"
    )
    box = drawn["frame"]
    seen = _pixels(browser, box)
    image = np.asarray(without.convert("RGB")).astype(int)
    colours = [_num_near(image[int(box["top"] - tools) : int(box["bottom"] - tools)], drawn["colour"])]
    assert colours[0] >= _num_near(seen, drawn["colour"]) > 0


def test_the_script_draws_what_was_drawn(browser: Browser, page: Path) -> None:
    _open(browser, page)
    paths = "[...document.querySelectorAll('svg[data-chart] path')].map((path) => [path.className.baseVal, path.getAttribute('d')])"
    texts = "[...document.querySelectorAll('svg[data-chart] text')].map((text) => text.textContent)"
    before = browser.evaluate(paths), browser.evaluate(texts)
    _click(browser, "button[name=all]")
    assert browser.evaluate(paths), browser.evaluate(texts) == before
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
    assert browser.evaluate(fields) == [0, 12]
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
    # The same mean, from its definition: weights fall by e over 0.9 * 0.2 of the 12 steps.
    span = 0.9 * 0.2 * 12
    expected = [np.average(linear[: i + 1], weights=np.exp(np.arange(-i, 1) / span)) for i in range(12)]
    assert smooth == pytest.approx(expected, abs=0.12)
    opacity = "getComputedStyle(document.querySelector('svg[data-chart=\"/loss\"] .curve')).opacity"
    assert 0.1 < float(browser.evaluate(opacity)) < 1
    assert browser.errors() == []


def test_a_sample_that_is_markup_does_nothing(browser: Browser, page: Path) -> None:
    _open(browser, page)
    assert browser.evaluate("document.title") == "report"
    assert "</script><script>" in browser.evaluate("document.querySelector('#samples pre').textContent")
    # Were it not escaped, the page's policy would still refuse it.
    inject = "(() => { const made = document.createElement('script'); made.textContent = 'document.title=1'; document.body.append(made) })()"
    browser.evaluate(inject)
    assert browser.evaluate("document.title") == "report"
    assert browser.errors() != []


def test_printing_opens_what_is_folded_and_hides_the_tools(browser: Browser, page: Path) -> None:
    _open(browser, page)
    shown = "[document.querySelector('#configuration pre'), document.getElementById('tools')].map((item) => item.checkVisibility({contentVisibilityAuto: true}))"
    assert browser.evaluate(shown) == [False, True]
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert browser.evaluate(shown) == [True, False]
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")


def test_a_run_without_measurements_has_no_errors(
    browser: Browser, page: Path, tmp_path: Path, polytrain: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").write_bytes((page.parent / "report/config.yaml").read_bytes())
    done = polytrain("report", "run", "-o", "empty.html")
    assert done.returncode == 0, done.stderr
    _open(browser, tmp_path / "empty.html")
    assert "Nothing has been measured yet" in browser.evaluate("document.body.textContent")


def _place(browser: Browser, frame: Rectangle, step: int) -> tuple[float, float]:
    """Where a step of the whole run (12 steps) lies on the screen."""
    data = json.loads(browser.evaluate("document.getElementById('data').textContent"))["frame"]
    across = data["left"] + (data["width"] - data["left"] - data["right"]) * step / 12
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
