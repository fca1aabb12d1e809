"""Distractors of contrastive learning."""

from __future__ import annotations

import numpy as np

from data.audio.options import NegativesOptions
from data.sample import Sample, SampleError


class Negatives:
    """A `Transform` that adds `negatives` [frames, K] (Baevski et al. 2020, section 3.2)."""

    def __init__(self, options: NegativesOptions) -> None:
        self._count = options.count

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        mask = sample["mask"]
        masked = np.flatnonzero(mask)
        if len(masked) < 2:
            raise SampleError(f"{len(masked)} of {len(mask)} frames are masked: a distractor is another masked frame")
        drawn = generator.integers(len(masked) - 1, size=(len(masked), self._count))
        drawn += drawn >= np.arange(len(masked))[:, None]  # all but oneself, equally likely
        negatives = np.zeros((len(mask), self._count), dtype=np.int32)
        negatives[masked] = masked[drawn]
        return sample | {"negatives": negatives}
