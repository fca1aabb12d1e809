"""Context and target blocks of patches (I-JEPA, Assran et al. 2023)."""

from __future__ import annotations

import numpy as np

from data.images.mask_options import MultiBlockMaskOptions
from data.images.masks import Mask, block_shape, place, to_count
from data.sample import Sample, SampleError

_ATTEMPTS = 20


class MultiBlockMask:
    """A context block without the patches of the targets, and the targets."""

    def __init__(self, options: MultiBlockMaskOptions) -> None:
        self.options = options

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """The sample with `context` [P] and `targets` [num_targets, P].

        Raises:
            SampleError: when twenty draws leave too few patches to the context, or to a target.
        """
        options = self.options
        for _ in range(_ATTEMPTS):
            targets_TP = self._targets(generator)
            free_P: Mask = np.logical_not(np.any(targets_TP, axis=0))
            context_P = self._context(generator) & free_P
            if self._suffices(targets_TP, free_P, context_P):
                return sample | {
                    "context": self._trimmed(generator, context_P, options.context_count, free_P),
                    "targets": np.stack(
                        [self._trimmed(generator, target_P, options.target_count, target_P) for target_P in targets_TP]
                    ),
                }
        raise SampleError(
            f"multi_block_mask: none of {_ATTEMPTS} draws left {max(options.min_context, options.context_count or 0)} "
            f"of {options.num_patches} patches to the context and {options.target_count or 1} to each of "
            f"{options.num_targets} targets; lower context_count, min_context or target_count, or change the scales"
        )

    def _targets(self, generator: np.random.Generator) -> Mask:
        """[num_targets, P]: blocks of one shape at random places."""
        shape = self._shape(generator, self.options.target_scale, self.options.target_aspect)
        return np.stack([self._placed(generator, shape) for _ in range(self.options.num_targets)])

    def _context(self, generator: np.random.Generator) -> Mask:
        """[P]: a square block, the targets still in it."""
        return self._placed(generator, self._shape(generator, self.options.context_scale, (1.0, 1.0)))

    def _shape(
        self, generator: np.random.Generator, scale: tuple[float, float], aspect: tuple[float, float]
    ) -> tuple[int, int]:
        """Height and width, cut to the grid."""
        area = float(generator.uniform(*scale)) * self.options.num_patches
        height, width = block_shape(generator, area, aspect)
        rows, columns = self.options.grid
        return min(max(height, 1), rows), min(max(width, 1), columns)

    def _placed(self, generator: np.random.Generator, shape: tuple[int, int]) -> Mask:
        mask_RC = np.zeros(self.options.grid, dtype=bool)
        mask_RC[place(generator, self.options.grid, shape)] = True
        return mask_RC.reshape(-1)

    def _suffices(self, targets_TP: Mask, free_P: Mask, context_P: Mask) -> bool:
        return (
            int(context_P.sum()) >= self.options.min_context
            and int(free_P.sum()) >= (self.options.context_count or 0)
            and int(targets_TP[0].sum()) >= (self.options.target_count or 0)
        )

    def _trimmed(self, generator: np.random.Generator, mask_P: Mask, count: int | None, allowed_P: Mask) -> Mask:
        return mask_P if count is None else to_count(generator, mask_P, count, allowed_P=allowed_P)
