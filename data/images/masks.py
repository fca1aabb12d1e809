"""Masks over the patches of an image: drawn alone, or in blocks.

Patches are numbered row by row. Suffixes: R rows, C columns of patches, P patches (R * C).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from data.images.mask_options import BlockMaskOptions, RandomMaskOptions
from data.sample import Sample

Mask = NDArray[np.bool_]

_ATTEMPTS = 10


class RandomMask:
    """Patches drawn without replacement, the same number in every image."""

    def __init__(self, options: RandomMaskOptions) -> None:
        self.options = options

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """The sample with its mask."""
        num_patches = self.options.num_patches
        mask_P = np.zeros(num_patches, dtype=bool)
        mask_P[generator.permutation(num_patches)[: round(self.options.ratio * num_patches)]] = True
        return sample | {self.options.field: mask_P}


class BlockMask:
    """Blocks of patches until enough are masked."""

    def __init__(self, options: BlockMaskOptions) -> None:
        self.options = options

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """The sample with its mask."""
        mask_P = np.zeros(self.options.num_patches, dtype=bool)
        if generator.random() < self.options.probability:
            count = round(float(generator.uniform(*self.options.ratio)) * self.options.num_patches)
            mask_P = self._blocks(generator, count).reshape(-1)
            if self.options.count == "exact":
                mask_P = to_count(generator, mask_P, count, allowed_P=~mask_P)
        return sample | {self.options.field: mask_P}

    def _blocks(self, generator: np.random.Generator, count: int) -> Mask:
        """[R, C] with at most `count` patches masked (Bao et al. 2022, Algorithm 1).

        A block that would mask more than are missing is drawn again, as in the authors' code; after ten
        of them in a row, or when fewer are missing than a block has, no more are drawn.
        """
        rows, columns = self.options.grid
        mask_RC = np.zeros((rows, columns), dtype=bool)
        failed = 0
        while failed < _ATTEMPTS:
            missing = count - int(mask_RC.sum())
            if missing < self.options.min_block:
                break
            area = generator.uniform(self.options.min_block, missing)
            height, width = block_shape(generator, area, self.options.aspect)
            failed += 1
            if 0 < height <= rows and 0 < width <= columns:
                block = place(generator, (rows, columns), (height, width))
                if 0 < np.count_nonzero(~mask_RC[block]) <= missing:
                    mask_RC[block] = True
                    failed = 0
        return mask_RC


def block_shape(generator: np.random.Generator, area: float, aspect: tuple[float, float]) -> tuple[int, int]:
    """Height and width of a block of about `area` patches, height over width uniform in the logarithm of `aspect`."""
    ratio = math.exp(generator.uniform(math.log(aspect[0]), math.log(aspect[1])))
    return round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))


def place(generator: np.random.Generator, grid: tuple[int, int], shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a block of this shape at a random place of the grid, into which it must fit."""
    top, left = (int(generator.integers(whole - part + 1)) for whole, part in zip(grid, shape, strict=True))
    return slice(top, top + shape[0]), slice(left, left + shape[1])


def to_count(generator: np.random.Generator, mask_P: Mask, count: int, *, allowed_P: Mask) -> Mask:
    """`mask_P` with random patches taken away, or random allowed ones added, until `count` are True.

    Fewer than `count` remain only where there are not enough allowed ones.
    """
    surplus = int(mask_P.sum()) - count
    changed_P = mask_P.copy()
    if surplus > 0:
        changed_P[generator.permutation(np.flatnonzero(mask_P))[:surplus]] = False
    elif surplus < 0:
        changed_P[generator.permutation(np.flatnonzero(allowed_P & ~mask_P))[:-surplus]] = True
    return changed_P
