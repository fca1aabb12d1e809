"""Arithmetic that gives the same bits on every machine.

Elementwise +, -, *, / and the square root are exact by IEEE 754; BLAS products, exp, tanh and powers
differ in the last bits from one processor to the next, and near a class boundary that is another
label. Priors therefore scale standard normals themselves and take what they need from here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def product(x_RD: Floats, w_DC: Floats) -> Floats:
    """The matrix product, summed over D from first to last."""
    total_RC = np.zeros((x_RD.shape[0], w_DC.shape[1]))
    term_RC = np.empty_like(total_RC)
    for column_R, row_C in zip(x_RD.T, w_DC, strict=True):
        np.multiply(column_R[:, None], row_C, out=term_RC)
        total_RC += term_RC
    return total_RC


def squash(x: Floats) -> Floats:
    """The hyperbolic tangent within 1e-4, by its continued fraction (Lambert), clipped to [-1, 1]."""
    x = np.clip(x, -6.0, 6.0)
    square = x * x
    above = x * (135135 + square * (17325 + square * (378 + square)))
    below = 135135 + square * (62370 + square * (3150 + square * 28))
    return np.clip(above / below, -1.0, 1.0)


def ranks(values_R: Floats) -> Floats:
    """The rank of each value in (0, 1); equal values share theirs."""
    ordered_R = np.sort(values_R)
    below_R = np.searchsorted(ordered_R, values_R, side="left")
    upto_R = np.searchsorted(ordered_R, values_R, side="right")
    return (below_R + upto_R) / (2 * len(values_R))


def standardise(x_RC: Floats, clip_at: float) -> Floats:
    """Columns clipped at `clip_at` standard deviations, then of mean 0 and, unless constant, deviation 1."""
    for limit in (clip_at, None):
        x_RC = x_RC - x_RC.mean(axis=0)
        std_C = np.sqrt((x_RC * x_RC).mean(axis=0))
        x_RC = x_RC / np.where(std_C > 0, std_C, 1.0)
        if limit is not None:
            x_RC = np.clip(x_RC, -limit, limit)
    return x_RC
