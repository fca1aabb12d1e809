"""Figures over steps, and fewer points that look the same.

Of every column of pixels the first, smallest, largest and last value are kept (M4, Jugel et al. 2014, section 4), so a
line through them covers what a line through all of them would: a spike of one step stays a spike. What is not finite
interrupts the line.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Curve:
    """A figure over steps; NaN where it was not finite."""

    steps: NDArray[np.int64]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, steps: array[int], values: array[float]) -> Curve:
        """The rows in order of their steps."""
        steps_N, values_N = np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64)
        order_N = np.argsort(steps_N, kind="stable")
        values_N = np.where(np.isfinite(values_N), values_N, np.nan)
        return cls(steps_N[order_N], values_N[order_N])

    @property
    def finite(self) -> Curve:
        """The rows whose values are finite."""
        kept_N = np.isfinite(self.values)
        return Curve(self.steps[kept_N], self.values[kept_N])


@dataclass(frozen=True)
class Thinned:
    """What is drawn of a curve."""

    points: Curve
    "Rows of the curve: all of them, or the extremes of every column."
    means: Curve | None
    "Of the columns where rows were left out: the mean step and value, which smoothing is computed from."


def thin(curve: Curve, num_columns: int) -> Thinned:
    """At most 5 rows in each of `num_columns` equal ranges of steps; the curve itself when it has few."""
    if len(curve.steps) <= 5 * num_columns:
        return Thinned(curve, None)
    first, last = curve.steps[0], curve.steps[-1]
    columns_N = (curve.steps - first) * num_columns // (last - first + 1)
    kept: list[np.int64] = []
    means: list[tuple[float, float]] = []
    for rows in np.split(np.arange(len(columns_N)), np.flatnonzero(np.diff(columns_N)) + 1):
        is_finite = np.isfinite(curve.values[rows])
        kept.extend(rows[~is_finite][:1])
        finite = rows[is_finite]
        if len(finite):
            values = curve.values[finite]
            kept.extend((finite[0], finite[values.argmin()], finite[values.argmax()], finite[-1]))
            means.append((float(curve.steps[finite].mean()), float(values.mean())))
    rows = np.unique(np.array(kept))
    mean_steps, mean_values = np.array(means).reshape(-1, 2).T
    return Thinned(Curve(curve.steps[rows], curve.values[rows]), Curve(mean_steps.astype(np.int64), mean_values))
