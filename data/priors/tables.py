"""What table generators share: targets become classes, columns categories, cells go missing.

A table is `{"features": [R, C] float32, "label": [R] int64, "num_features": [], "num_classes": []}`
(int64), C = max_features. Columns from num_features on are zero; missing cells are NaN. Labels are
0..num_classes-1, every one present, and their numbers mean nothing (they are shuffled). Rows are
independent of each other given the table's generator, so any split into known and queried rows is fair.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from data.priors.arithmetic import Floats, ranks
from data.priors.options import TableOptions
from data.priors.prior import Prior, between
from data.sample import Sample

_ATTEMPTS = 10

TableOptionsT = TypeVar("TableOptionsT", bound=TableOptions)


class Table(Prior[TableOptionsT]):
    """A prior of tables; subclasses make features and a numeric target."""

    @abstractmethod
    def table(self, rng: np.random.Generator, num_features: int) -> tuple[Floats, Floats]:
        """Features [R, num_features] and a target [R]."""

    def make(self, rng: np.random.Generator) -> Sample:
        """One table. A table of a single class is drawn again; the tenth such in a row is kept."""
        for _ in range(_ATTEMPTS):
            num_features = between(rng, self.options.min_features, self.options.max_features)
            num_classes = between(rng, self.options.min_classes, self.options.max_classes)
            features_RC, target_R = self.table(rng, num_features)
            levels_R = cut(rng, target_R, num_classes)
            found = int(levels_R.max()) + 1
            if found > 1:
                break
        padded_RC = np.zeros((self.options.rows, self.options.max_features), dtype=np.float32)
        padded_RC[:, :num_features] = features_RC
        if self.options.missing:
            share = self.options.missing * rng.random()
            padded_RC[:, :num_features][rng.random(features_RC.shape) < share] = np.nan
        return {
            "features": padded_RC,
            "label": rng.permutation(found)[levels_R],
            "num_features": np.array(num_features, dtype=np.int64),
            "num_classes": np.array(found, dtype=np.int64),
        }


def cut(rng: np.random.Generator, values_R: Floats, num_levels: int) -> NDArray[np.int64]:
    """Levels 0, 1, ... of the values, cut at uniformly drawn ranks; a level that no row has is left out."""
    cuts = np.sort(rng.random(num_levels - 1))
    levels_R = np.searchsorted(cuts, ranks(values_R))
    return np.unique(levels_R, return_inverse=True)[1].astype(np.int64)


def categorise(rng: np.random.Generator, features_RC: Floats, probability: float) -> Floats:
    """With this probability, replace a random share of the columns by ordered categories 0, 1, ...

    A category column has 1 + Geometric(1/2) levels (den Breejen et al. 2024).
    """
    if rng.random() >= probability:
        return features_RC
    num_columns = features_RC.shape[1]
    features_RC = features_RC.copy()
    for column in rng.permutation(num_columns)[: int(rng.random() * (num_columns + 1))]:
        features_RC[:, column] = cut(rng, features_RC[:, column], 1 + int(rng.geometric(0.5)))
    return features_RC
