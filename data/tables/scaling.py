"""Feature columns on a common scale, by the known rows alone: nothing of the queried rows leaks into what is known.

All columns are scaled, categories as the numbers they are stored as. Missing cells stay missing. A column without a
known value says nothing that queries could be compared with, so all of it becomes missing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from data.sample import Sample
from data.tables.context import require
from data.tables.options import QuantileOptions, RankGaussOptions, StandardizeOptions

Floats = NDArray[np.float64]


class _ColumnScaling(ABC):
    """Scales every column by its values in the first `num_context` rows."""

    name = ""

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """Scale the columns; nothing is random."""
        require(sample, "features", "num_features", "num_context", by=self.name)
        features_RC = sample["features"].astype(np.float32)
        for column in range(int(sample["num_features"])):
            values_R = features_RC[:, column].astype(np.float64)
            known = values_R[: int(sample["num_context"])]
            known = known[~np.isnan(known)]
            features_RC[:, column] = self.scale(values_R, known) if len(known) else np.nan
        return sample | {"features": features_RC}

    @abstractmethod
    def scale(self, values_R: Floats, known: Floats) -> Floats:
        """A column [R] by the values known of it (at least one, none missing)."""


class Standardize(_ColumnScaling):
    """(x - mean) / std, std divided by n; a column that is constant is only centred."""

    name = "standardize"

    def __init__(self, options: StandardizeOptions) -> None:
        self.options = options

    def scale(self, values_R: Floats, known: Floats) -> Floats:
        """See the class."""
        mean = known.mean()
        # Compared, because rounding may leave a constant column a deviation above 0.
        std = known.std() if known.min() < known.max() else 1.0
        scaled_R: Floats = (values_R - mean) / (std or 1.0)
        return scaled_R if self.options.clip is None else np.clip(scaled_R, -self.options.clip, self.options.clip)


class Quantile(_ColumnScaling):
    """(below + equal / 2 + 1/2) / (n + 1), counted among the n known values: in (0, 1), 1/2 in the middle."""

    name = "quantile"

    def __init__(self, options: QuantileOptions) -> None:
        self.options = options

    def scale(self, values_R: Floats, known: Floats) -> Floats:
        """See the class."""
        scaled_R: Floats = (_twice_rank(values_R, known) + 1) / (2 * len(known) + 2)
        return _missing_as_in(values_R, scaled_R)


class RankGauss(_ColumnScaling):
    """The normal quantile of what `Quantile` gives."""

    name = "rank_gauss"

    def __init__(self, options: RankGaussOptions) -> None:
        self.options = options

    def scale(self, values_R: Floats, known: Floats) -> Floats:
        """See the class."""
        normal, twice = NormalDist(), 2 * len(known) + 2
        ranks, inverse_R = np.unique(_twice_rank(values_R, known), return_inverse=True)
        quantiles = np.array([normal.inv_cdf((int(rank) + 1) / twice) for rank in ranks])
        return _missing_as_in(values_R, quantiles[inverse_R])


def _twice_rank(values_R: Floats, known: Floats) -> NDArray[np.int64]:
    """Known values below, twice, and those equal."""
    known = np.sort(known)
    return (np.searchsorted(known, values_R, "left") + np.searchsorted(known, values_R, "right")).astype(np.int64)


def _missing_as_in(values_R: Floats, scaled_R: Floats) -> Floats:
    return np.where(np.isnan(values_R), np.nan, scaled_R)
