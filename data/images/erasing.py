"""Random erasing."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from data.images.options import RandomErasingOptions
from data.images.pixels import ImageTransform

_ATTEMPTS = 10


class RandomErasing(ImageTransform[RandomErasingOptions]):
    """A random rectangle overwritten, sometimes."""

    def change(self, image_CHW: Tensor, generator: np.random.Generator) -> Tensor:
        """[C, H, W]."""
        options = self.options
        if generator.random() >= options.probability:
            return image_CHW
        height, width = image_CHW.shape[1:]
        box = erased_box(generator, (height, width), options.scale, options.ratio)
        if box is None:
            return image_CHW
        top, left, box_height, box_width = box
        values = self._values(generator, image_CHW, (image_CHW.shape[0], box_height, box_width))
        erased: Tensor = F.erase(image_CHW, top, left, box_height, box_width, v=values)
        return erased

    def _values(self, generator: np.random.Generator, image_CHW: Tensor, shape: tuple[int, int, int]) -> Tensor:
        if self.options.value != "random":
            return torch.full((1, 1, 1), self.options.value).to(image_CHW.dtype)
        if image_CHW.dtype == torch.uint8:
            return torch.from_numpy(generator.integers(0, 256, shape, dtype=np.uint8))
        return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))


def erased_box(
    generator: np.random.Generator, size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int] | None:
    """(top, left, height, width) of the rectangle; None after ten draws that do not fit (Zhong et al., Algorithm 1)."""
    height, width = size
    for _ in range(_ATTEMPTS):
        area = height * width * generator.uniform(*scale)
        aspect = math.exp(generator.uniform(math.log(ratio[0]), math.log(ratio[1])))
        box_height, box_width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if box_height < height and box_width < width:
            top = int(generator.integers(height - box_height + 1))
            left = int(generator.integers(width - box_width + 1))
            return top, left, box_height, box_width
    return None
