"""Mirror images."""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from data.images.options import HorizontalFlipOptions, VerticalFlipOptions
from data.images.pixels import ImageTransform


class HorizontalFlip(ImageTransform[HorizontalFlipOptions]):
    """Left and right exchanged, sometimes."""

    def change(self, image_CHW: Tensor, generator: np.random.Generator) -> Tensor:
        """[C, H, W]."""
        if generator.random() >= self.options.probability:
            return image_CHW
        flipped: Tensor = F.horizontal_flip(image_CHW)
        return flipped


class VerticalFlip(ImageTransform[VerticalFlipOptions]):
    """Top and bottom exchanged, sometimes."""

    def change(self, image_CHW: Tensor, generator: np.random.Generator) -> Tensor:
        """[C, H, W]."""
        if generator.random() >= self.options.probability:
            return image_CHW
        flipped: Tensor = F.vertical_flip(image_CHW)
        return flipped
