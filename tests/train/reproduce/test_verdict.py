"""Comparisons judged by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from train.reproduce.paper import Comparison
from train.reproduce.verdict import half_width, verdict


def comparison(**changes: Any) -> Comparison:
    usual: dict[str, Any] = {"figure": "loss", "arm": "ours", "baseline": "theirs", "at_most": 0.0}
    return Comparison(**usual | changes)


def test_the_interval_is_students() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is what it is held to")
    values = [1.0, 2.5, 2.0, 4.0, 3.5]
    for count in range(2, 6):
        low, high = stats.t.interval(0.9, count - 1, loc=0, scale=stats.sem(values[:count]))
        assert half_width(values[:count]) == pytest.approx(high, rel=1e-4)
        assert half_width(values[:count]) == pytest.approx(-low, rel=1e-4)


def test_the_interval_of_many_is_no_narrower_than_students() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is what it is held to")
    values = [float(number % 7) for number in range(40)]
    exact = stats.t.ppf(0.95, 39) * stats.sem(values)
    assert exact <= half_width(values) <= 1.06 * exact


def test_runs_are_compared_by_seed() -> None:
    """Seeds differ by far more than arms do, and yet the arms can be told apart."""
    figures = {"theirs": [1.0, 5.0, 9.0], "ours": [0.9, 4.89, 8.91]}
    found = verdict(comparison(), figures)
    assert found.values == pytest.approx((-0.1, -0.11, -0.09))
    assert found.mean == pytest.approx(-0.1)
    assert found.high - found.mean == pytest.approx(2.92 * 0.01 / math.sqrt(3), rel=1e-4)
    assert found.word == "holds"


@pytest.mark.parametrize(
    ("ours", "bounds", "word"),
    [
        ([-0.1, -0.11, -0.09], {"at_most": -0.2}, "does not hold"),
        ([-0.1, -0.11, -0.09], {"at_most": -0.1}, "undecided"),
        ([-0.1, -0.11, -0.09], {"at_least": -0.2, "at_most": None}, "holds"),
        ([-0.1, -0.11, -0.09], {"at_least": -0.05, "at_most": 0.05}, "does not hold"),
        ([-0.01, 0.01, 0.0], {"at_least": -0.05, "at_most": 0.05}, "holds"),
        ([math.nan, 0.01, 0.0], {}, "does not hold"),
        ([0.1], {}, "does not hold"),
        ([-0.1], {}, "holds"),
    ],
)
def test_verdicts(ours: list[float], bounds: dict[str, float | None], word: str) -> None:
    figures = {"theirs": [0.0] * len(ours), "ours": ours}
    assert verdict(comparison(**bounds), figures).word == word


def test_ratios_and_gaps() -> None:
    figures = {"theirs": [2.0, 4.0], "ours": [3.0, 4.4], "far": [4.0, 5.0]}
    assert verdict(comparison(by="ratio"), figures).values == pytest.approx((1.5, 1.1))
    gap = comparison(by="gap", reference="far", at_most=0.55)
    assert verdict(gap, figures).values == pytest.approx((0.5, 0.4))
    assert verdict(gap, figures | {"far": [2.0, 5.0]}).word == "does not hold"
