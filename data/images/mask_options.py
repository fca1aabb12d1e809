"""Options of the mask samplers. Free of heavy imports."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from configs.options import Part
from data.images.option_types import Pixels, Probability, Range, Size, height_and_width, require_positive


class PatchMaskOptions(Part):
    """What all masks have: the grid of patches."""

    size: Size = 224
    "Side of the square image that the model sees, or [height, width]."
    patch_size: Pixels = 16
    "Side of a patch."

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        height, width = height_and_width(self.size)
        return height // self.patch_size, width // self.patch_size

    @property
    def num_patches(self) -> int:
        """Patches of an image, numbered row by row."""
        rows, columns = self.grid
        return rows * columns

    @model_validator(mode="after")
    def _check_grid(self) -> Self:
        height, width = height_and_width(self.size)
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(f"size {height} x {width} is not a multiple of patch_size {self.patch_size}; change one")
        return self


class RandomMaskOptions(PatchMaskOptions):
    """Patches drawn without replacement, the same number in every image (MAE, He et al. 2022)."""

    kind: Literal["random_mask"] = "random_mask"
    ratio: Probability = 0.75
    "Share of the patches that are masked, rounded to a whole number of them."
    field: str = "mask"
    "The field that is added: [num_patches] bool, True where masked."

    builds: ClassVar[str] = "data.images.masks:RandomMask"


class BlockMaskOptions(PatchMaskOptions):
    """Rectangles of patches until enough are masked (BEiT, Bao et al. 2022, Algorithm 1)."""

    kind: Literal["block_mask"] = "block_mask"
    ratio: Range = (0.4, 0.4)
    "Share of the patches that are masked: [low, high], drawn for every image (iBOT: [0.1, 0.5])."
    probability: Probability = 1.0
    "Share of the images that are masked at all (iBOT, DINOv2: 0.5); the others get an empty mask."
    min_block: int = Field(default=16, gt=0)
    "Least patches of a block."
    aspect: Range = (0.3, 1 / 0.3)
    "Height over width of a block, uniform in its logarithm."
    count: Literal["exact", "at_most"] = "exact"
    "'exact' fills up with single patches, so that batches are rectangular; 'at_most' stops where no block fits."
    field: str = "mask"
    "The field that is added: [num_patches] bool, True where masked."

    builds: ClassVar[str] = "data.images.masks:BlockMask"

    @model_validator(mode="after")
    def _check_blocks(self) -> Self:
        require_positive("aspect", self.aspect)
        if not 0 <= self.ratio[0] <= self.ratio[1] <= 1:
            raise ValueError(f"ratio: expected [low, high] between 0 and 1, found {list(self.ratio)}")
        return self


class MultiBlockMaskOptions(PatchMaskOptions):
    """A large context block, and target blocks to predict from it (I-JEPA, Assran et al. 2023).

    Adds `context` [num_patches] bool, True where the context encoder sees, and `targets`
    [num_targets, num_patches] bool, True where a target lies. Targets may overlap each other; the
    context has no patch of any target.
    """

    kind: Literal["multi_block_mask"] = "multi_block_mask"
    num_targets: int = Field(default=4, gt=0)
    "Target blocks."
    target_scale: Range = (0.15, 0.2)
    "Share of the patches in a target block."
    target_aspect: Range = (0.75, 1.5)
    "Height over width of a target block."
    context_scale: Range = (0.85, 1.0)
    "Share of the patches in the context block, which is square, before the targets are taken out of it."
    min_context: int = Field(default=10, gt=0)
    "Least patches of the context; blocks are drawn again until it has them."
    context_count: int | None = Field(default=None, gt=0)
    "Trim or fill the context to exactly this many patches at random, so that batches are rectangular."
    target_count: int | None = Field(default=None, gt=0)
    "Trim every target to exactly this many patches at random."

    builds: ClassVar[str] = "data.images.multi_block:MultiBlockMask"

    @model_validator(mode="after")
    def _check_blocks(self) -> Self:
        require_positive("target_scale", self.target_scale, 1)
        require_positive("target_aspect", self.target_aspect)
        require_positive("context_scale", self.context_scale, 1)
        return self


MaskOptions = RandomMaskOptions | BlockMaskOptions | MultiBlockMaskOptions
