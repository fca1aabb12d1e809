"""`ImageTransform`: what the transforms of one image share. Layouts and checks.

Pixels are changed by torchvision's functions, which are pure; parameters are drawn from the generator
that a transform is given. Suffixes: H height, W width, C channels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from data.images.options import ImageOptions
from data.sample import Sample, SampleError

ImageOptionsT = TypeVar("ImageOptionsT", bound=ImageOptions)


class ImageTransform(ABC, Generic[ImageOptionsT]):
    """A transform of the pixels of one field."""

    def __init__(self, options: ImageOptionsT) -> None:
        self.options = options

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """The sample with its image changed; other fields and the given arrays stay as they are."""
        name = self.options.field
        return sample | {name: to_field(self.change(to_tensor(sample, name), generator))}

    @abstractmethod
    def change(self, image_CHW: Tensor, generator: np.random.Generator) -> Tensor:
        """The changed image; `image_CHW` is left as it is."""


def to_tensor(sample: Sample, name: str) -> Tensor:
    """The field as [C, H, W], without a copy where the array can be written to.

    Raises:
        SampleError: when it is neither [H, W, C] uint8 nor [C, H, W] float32.
    """
    if name not in sample:
        raise SampleError(f"field '{name}': missing; the sample has {', '.join(sample)}")
    image = sample[name]
    if image.ndim == 3 and image.size and image.dtype in (np.uint8, np.float32):
        # torch warns of arrays that cannot be written to, and takes none that runs backwards.
        usable = image.flags.writeable and min(image.strides) >= 0
        tensor = torch.from_numpy(image if usable else image.copy())
        return tensor.permute(2, 0, 1) if image.dtype == np.uint8 else tensor
    raise SampleError(
        f"field '{name}': {image.dtype} of shape {list(image.shape)}, "
        "expected an image: [height, width, channels] uint8 or, normalised, [channels, height, width] float32"
    )


def to_field(image_CHW: Tensor) -> np.ndarray:
    """The array that a sample carries: [H, W, C] uint8 or [C, H, W] float32."""
    array: np.ndarray = (image_CHW.permute(1, 2, 0) if image_CHW.dtype == torch.uint8 else image_CHW).numpy()
    return array


def require_bytes(image_CHW: Tensor, kind: str, *, channels: tuple[int, ...] = (1, 3)) -> None:
    """Check the type and the number of channels.

    Raises:
        SampleError: saying what to do.
    """
    if image_CHW.dtype != torch.uint8:
        raise SampleError(f"{kind}: the image is normalised already; put {kind} before normalize")
    if image_CHW.shape[0] not in channels:
        expected = " or ".join(str(number) for number in channels)
        raise SampleError(f"{kind}: {image_CHW.shape[0]} channels, expected {expected}; put rgb before {kind}")
