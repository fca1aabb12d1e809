"""Random changes of a table that do not change its task: other orders of columns and classes, missing and masked cells.

Only the first `num_features` columns are touched; the padding behind them stays zero.
"""

from __future__ import annotations

import numpy as np

from data.sample import Sample
from data.tables.context import require
from data.tables.options import DropCellsOptions, MaskCellsOptions, PermuteClassesOptions, PermuteFeaturesOptions


class PermuteFeatures:
    """Feature columns in random order, and those of `mask` with them."""

    def __init__(self, options: PermuteFeaturesOptions) -> None:
        self.options = options

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """Draw an order."""
        require(sample, "features", "num_features", by="permute_features")
        order_C = np.arange(sample["features"].shape[1])
        width = int(sample["num_features"])
        order_C[:width] = generator.permutation(width)
        return sample | {name: sample[name][:, order_C] for name in ("features", "mask") if name in sample}


class PermuteClasses:
    """Classes with random numbers: a model cannot learn that class 0 is the most frequent one."""

    def __init__(self, options: PermuteClassesOptions) -> None:
        self.options = options

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """Draw the numbers."""
        require(sample, "label", "num_classes", by="permute_classes")
        numbers = generator.permutation(int(sample["num_classes"])).astype(np.int64)
        return sample | {"label": numbers[sample["label"].astype(np.int64)]}


class DropCells:
    """Feature cells made missing (NaN), each with the same probability."""

    def __init__(self, options: DropCellsOptions) -> None:
        self.options = options

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """Draw the cells."""
        require(sample, "features", "num_features", by="drop_cells")
        features_RC = sample["features"].astype(np.float32)
        cells_RC = features_RC[:, : int(sample["num_features"])]
        low, high = self.options.share
        share = generator.uniform(low, high)
        cells_RC[generator.random(cells_RC.shape) < share] = np.nan
        return sample | {"features": features_RC}


class MaskCells:
    """Adds `mask` [R, C] bool, True for cells to be hidden from the model and reconstructed by it.

    Their values stay in `features`, where the objective finds what to reconstruct.
    """

    def __init__(self, options: MaskCellsOptions) -> None:
        self.options = options

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """Draw the cells."""
        require(sample, "features", "num_features", by="mask_cells")
        features_RC = sample["features"]
        low, high = self.options.share
        share = generator.uniform(low, high)
        mask_RC = (generator.random(features_RC.shape) < share) & ~np.isnan(features_RC.astype(np.float32))
        mask_RC[:, int(sample["num_features"]) :] = False
        return sample | {"mask": mask_RC}
