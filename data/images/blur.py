"""Gaussian blur."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from data.images.options import GaussianBlurOptions
from data.images.pixels import ImageTransform
from data.sample import SampleError


class GaussianBlur(ImageTransform[GaussianBlurOptions]):
    """Convolution with a Gaussian of random width, sometimes."""

    def change(self, image_CHW: Tensor, generator: np.random.Generator) -> Tensor:
        """[C, H, W], of the type it had."""
        height, width = image_CHW.shape[1:]
        if self.options.kernel_size // 2 >= min(height, width):
            raise SampleError(
                f"gaussian_blur: a kernel of {self.options.kernel_size} pixels is too large for an image of "
                f"{height} x {width}; lower kernel_size, or put gaussian_blur after a crop"
            )
        if generator.random() >= self.options.probability:
            return image_CHW
        return blur(image_CHW, self.options.kernel_size, float(generator.uniform(*self.options.sigma)))


def blur(image_CHW: Tensor, kernel_size: int, sigma: float) -> Tensor:
    """The `gaussian_blur` of torchvision, first along rows and then along columns.

    A Gaussian is a product, so the result is the same but for float32 rounding (one byte value in
    some ten thousand differs, by 1), at a fifth of the time for a kernel of 23.
    """
    blurred: Tensor = image_CHW.to(torch.float32)
    for kernel in ([kernel_size, 1], [1, kernel_size]):
        blurred = F.gaussian_blur(blurred, kernel, [sigma, sigma])
    return blurred if image_CHW.is_floating_point() else blurred.round().to(image_CHW.dtype)
