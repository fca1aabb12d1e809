"""Whether a comparison holds: pure arithmetic.

Runs that share a seed share their data and, where shapes agree, their initial weights: they are pairs, and what is
compared is computed pair by pair. The mean over seeds has a confidence interval (Student's t, two-sided 90%), and

    holds            the whole interval is where the claim says
    does not hold    none of it is
    undecided        the claim's bound lies in it: more seeds would tell

One seed has no interval: its verdict is that of the number itself.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from train.reproduce.paper import Comparison

Word = Literal["holds", "does not hold", "undecided"]

# The 0.95 quantiles of Student's t for 1, 2, ... degrees of freedom; the last serves for more, and is a little wide.
_QUANTILES = (6.3138, 2.9200, 2.3534, 2.1318, 2.0150, 1.9432, 1.8946, 1.8595, 1.8331, 1.8125, 1.7959, 1.7823, 1.7709)


@dataclass(frozen=True)
class Verdict:
    """What a comparison came to."""

    values: tuple[float, ...]
    "Of every seed."
    mean: float
    low: float
    "Of the interval; with one seed the mean."
    high: float
    word: Word


def verdict(comparison: Comparison, figures: Mapping[str, Sequence[float]]) -> Verdict:
    """Judge a comparison.

    Args:
        comparison: what is claimed.
        figures: by arm, of every seed, in one order.
    """
    arms = [figures[arm] for arm in comparison.arms]
    values = tuple(_compared(comparison, *numbers) for numbers in zip(*arms, strict=True))
    mean, half = statistics.fmean(values), half_width(values)
    low, high = mean - half, mean + half
    least = -math.inf if comparison.at_least is None else comparison.at_least
    most = math.inf if comparison.at_most is None else comparison.at_most
    word: Word = "undecided"
    if least <= low and high <= most:
        word = "holds"
    elif high < least or low > most or not math.isfinite(mean):
        word = "does not hold"
    return Verdict(values, mean, low, high, word)


def half_width(values: Sequence[float]) -> float:
    """Of the interval of the mean: 0 of one value; NaN where one is not finite."""
    degrees = len(values) - 1
    if not all(map(math.isfinite, values)):
        return math.nan
    if degrees == 0:
        return 0.0
    return _QUANTILES[min(degrees, len(_QUANTILES)) - 1] * statistics.stdev(values) / math.sqrt(len(values))


def _compared(comparison: Comparison, arm: float, baseline: float, reference: float = math.nan) -> float:
    if comparison.by == "difference":
        return arm - baseline
    above, below = (arm, baseline) if comparison.by == "ratio" else (arm - baseline, reference - baseline)
    return above / below if below else math.nan
