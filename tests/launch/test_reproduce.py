"""Pages of results."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree.ElementTree import fromstring

from launch.reproduce.page import Result, drawing, json_text, markdown
from tests.train.reproduce.test_paper import PAPER
from train.reproduce.paper import Paper
from train.reproduce.verdict import verdict

FIGURES = {"loss": {"plain": [3.0, 3.2], "wide": [2.8, 3.1]}}


def result() -> Result:
    paper = Paper.model_validate(PAPER)
    verdicts = [(item, verdict(item, FIGURES[item.figure])) for item in paper.comparisons]
    return Result("claim", paper, [0, 1], FIGURES, verdicts)


def test_the_page_says_what_was_measured_and_how_it_was_judged() -> None:
    page = markdown(result(), "plot.svg")
    assert "| plain | 3.1000 ± 0.1414 |" in page
    assert "| loss: wide - plain | at most 0 | -0.15 |" in page
    assert "undecided" in page
    assert not result().holds


def test_bytes_have_no_places() -> None:
    rows = replace(result(), figures={"saved": {"plain": [135561216.0, 135561216.0]}}).arm_rows()
    assert rows == [{"arm": "plain", "saved": "135,561,216 ± 0"}]


def test_the_json_holds_every_number() -> None:
    tree = json.loads(json_text(result()))
    assert tree["figures"] == FIGURES
    assert tree["comparisons"][0]["word"] == "undecided"
    assert tree["holds"] is False


def test_the_drawing_has_a_dot_for_every_run() -> None:
    svg = fromstring(drawing(result()))
    dots = svg.findall("{http://www.w3.org/2000/svg}circle")
    assert len(dots) == 4
    assert float(dots[0].attrib["cx"]) > float(dots[2].attrib["cx"])
