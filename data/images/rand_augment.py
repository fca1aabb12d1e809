"""RandAugment: operations drawn from fourteen, all of one strength (Cubuk et al. 2020)."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from data.images.options import RandAugmentOptions
from data.images.pixels import ImageTransform, require_bytes

Geometric = Literal["shear_x", "shear_y", "translate_x", "translate_y", "rotate"]
Enhancing = Literal["brightness", "color", "contrast", "sharpness"]
Plain = Literal["identity", "posterize", "solarize", "auto_contrast", "equalize"]
Operation = Geometric | Enhancing | Plain

OPERATIONS: tuple[Operation, ...] = (*get_args(Geometric), *get_args(Enhancing), *get_args(Plain))
_STEPS = 30


class RandAugment(ImageTransform[RandAugmentOptions]):
    """A few random operations of one strength."""

    def change(self, image_CHW: Tensor, generator: np.random.Generator) -> Tensor:
        """[C, H, W] uint8."""
        require_bytes(image_CHW, "rand_augment")
        for _ in range(self.options.num_ops):
            operation = OPERATIONS[int(generator.integers(len(OPERATIONS)))]
            level = math.copysign(self.options.magnitude / _STEPS, generator.random() - 0.5)
            image_CHW = self.apply(operation, image_CHW, level)
        return image_CHW

    def apply(self, operation: Operation, image_CHW: Tensor, level: float) -> Tensor:
        """`operation` of strength `level` in [-1, 1]; where a direction means nothing its sign does not either."""
        if operation in get_args(Geometric):
            return self._moved(operation, image_CHW, level)
        changed: Tensor = image_CHW
        match operation:
            case "brightness":
                changed = F.adjust_brightness(image_CHW, 1 + 0.9 * level)
            case "color":
                changed = F.adjust_saturation(image_CHW, 1 + 0.9 * level)
            case "contrast":
                changed = F.adjust_contrast(image_CHW, 1 + 0.9 * level)
            case "sharpness":
                changed = F.adjust_sharpness(image_CHW, 1 + 0.9 * level)
            case "posterize":
                changed = F.posterize(image_CHW, 8 - round(4 * abs(level)))
            case "solarize":
                changed = F.solarize(image_CHW, 255 * (1 - abs(level)))
            case "auto_contrast":
                changed = F.autocontrast(image_CHW)
            case "equalize":
                changed = F.equalize(image_CHW)
        return changed

    def _moved(self, operation: Operation, image_CHW: Tensor, level: float) -> Tensor:
        """Shears by up to 0.3 about the top left, shifts by up to 150/331 of a side, turns by up to 30 degrees."""
        shear, share = math.degrees(math.atan(0.3 * level)), 150 / 331 * level
        height, width = image_CHW.shape[1:]
        how = {
            "interpolation": InterpolationMode(self.options.interpolation),
            "fill": [float(self.options.fill)] * image_CHW.shape[0],
        }
        moved: Tensor
        if operation == "rotate":
            moved = F.rotate(image_CHW, 30 * level, **how)
            return moved
        moved = F.affine(
            image_CHW,
            angle=0.0,
            translate=[
                int(share * width) if operation == "translate_x" else 0,
                int(share * height) if operation == "translate_y" else 0,
            ],
            scale=1.0,
            shear=[shear if operation == "shear_x" else 0.0, shear if operation == "shear_y" else 0.0],
            **how,
            center=[0, 0] if operation in ("shear_x", "shear_y") else None,
        )
        return moved
