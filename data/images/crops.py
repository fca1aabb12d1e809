"""Crops and sizes."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from data.images.option_types import height_and_width
from data.images.options import CenterCropOptions, RandomCropOptions, RandomResizedCropOptions, ResizeOptions
from data.images.pixels import ImageTransform
from data.sample import SampleError

_ATTEMPTS = 10


class Resize(ImageTransform[ResizeOptions]):
    """Another size."""

    def change(self, image_CHW: Tensor, generator: np.random.Generator) -> Tensor:
        """[C, H', W']."""
        size = self.options.size
        resized: Tensor = F.resize(
            image_CHW,
            list(size) if isinstance(size, tuple) else [size],
            interpolation=InterpolationMode(self.options.interpolation),
            antialias=self.options.antialias,
        )
        return resized


class RandomResizedCrop(ImageTransform[RandomResizedCropOptions]):
    """A crop of random area and aspect ratio, resized."""

    def change(self, image_CHW: Tensor, generator: np.random.Generator) -> Tensor:
        """[C, height, width] of the options' size."""
        options = self.options
        top, left, height, width = random_box(
            generator, (image_CHW.shape[1], image_CHW.shape[2]), options.scale, options.ratio
        )
        crop: Tensor = F.resized_crop(
            image_CHW,
            top=top,
            left=left,
            height=height,
            width=width,
            size=list(height_and_width(options.size)),
            interpolation=InterpolationMode(options.interpolation),
            antialias=options.antialias,
        )
        return crop


class CenterCrop(ImageTransform[CenterCropOptions]):
    """The middle of the image."""

    def change(self, image_CHW: Tensor, generator: np.random.Generator) -> Tensor:
        """[C, height, width] of the options' size."""
        size = height_and_width(self.options.size)
        _require_room("center_crop", image_CHW, size)
        crop: Tensor = F.center_crop(image_CHW, list(size))
        return crop


class RandomCrop(ImageTransform[RandomCropOptions]):
    """A crop of fixed size at a random place."""

    def change(self, image_CHW: Tensor, generator: np.random.Generator) -> Tensor:
        """[C, height, width] of the options' size."""
        options = self.options
        height, width = height_and_width(options.size)
        if options.padding:
            self._check_padding(image_CHW)
            image_CHW = F.pad(image_CHW, [options.padding] * 4, padding_mode=options.padding_mode)
        _require_room("random_crop", image_CHW, (height, width))
        top = int(generator.integers(image_CHW.shape[1] - height + 1))
        left = int(generator.integers(image_CHW.shape[2] - width + 1))
        crop: Tensor = F.crop(image_CHW, top, left, height, width)
        return crop

    def _check_padding(self, image_CHW: Tensor) -> None:
        """A mirror shows no more than there is in front of it (without the outermost pixel, for reflect)."""
        mode, side = self.options.padding_mode, min(image_CHW.shape[1:])
        most = {"reflect": side - 1, "symmetric": side}.get(mode, self.options.padding)
        if self.options.padding > most:
            height, width = image_CHW.shape[1:]
            raise SampleError(
                f"random_crop: padding {self.options.padding} by '{mode}' needs more pixels than the image has "
                f"({height} x {width}); lower padding, or resize first"
            )


def random_box(
    generator: np.random.Generator, size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a random crop.

    The area is uniform in `scale` times the image's, width over height uniform in the logarithm of
    `ratio`. After ten draws that do not fit, the largest centred crop within `ratio` is taken: the
    definition of torchvision.
    """
    height, width = size
    for _ in range(_ATTEMPTS):
        area = height * width * generator.uniform(*scale)
        aspect = math.exp(generator.uniform(math.log(ratio[0]), math.log(ratio[1])))
        crop_width, crop_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            top = int(generator.integers(height - crop_height + 1))
            left = int(generator.integers(width - crop_width + 1))
            return top, left, crop_height, crop_width
    return _largest_centred_box(height, width, ratio)


def _largest_centred_box(height: int, width: int, ratio: tuple[float, float]) -> tuple[int, int, int, int]:
    crop_height, crop_width = height, width
    if width / height < ratio[0]:
        crop_height = max(1, round(width / ratio[0]))
    elif width / height > ratio[1]:
        crop_width = max(1, round(height * ratio[1]))
    return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width


def _require_room(kind: str, image_CHW: Tensor, size: tuple[int, int]) -> None:
    height, width = image_CHW.shape[1:]
    if height < size[0] or width < size[1]:
        raise SampleError(
            f"{kind}: the image has {height} x {width} pixels, the crop {size[0]} x {size[1]}; resize first"
        )
