"""Arrays -> encoded images, by Pillow."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from PIL import Image

from data.images.decode import Pixels, over_white

Format = Literal["jpg", "png", "webp"]

_PILLOW_NAMES = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}


def encode_image(pixels_HWC: Pixels, image_format: Format, *, quality: int = 95) -> bytes:
    """The file of an image. The same pixels and the same Pillow give the same bytes.

    Args:
        pixels_HWC: [H, W, C] uint8, C in (1, 3, 4). For jpg, transparency is laid over white.
        image_format: png is lossless.
        quality: of jpg and webp, 1 to 100.
    """
    image = Image.fromarray(pixels_HWC[:, :, 0] if pixels_HWC.shape[2] == 1 else pixels_HWC)
    if image_format == "jpg":
        image = over_white(image)
    stream = io.BytesIO()
    options = {} if image_format == "png" else {"quality": quality}
    image.save(stream, format=_PILLOW_NAMES[image_format], **options)
    return stream.getvalue()


def shrink(pixels_HWC: Pixels, longest: int) -> Pixels:
    """Scaled down so that the longer side has `longest` pixels (Lanczos); smaller images as they are."""
    height, width, channels = pixels_HWC.shape
    if max(height, width) <= longest:
        return pixels_HWC
    scale = longest / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(pixels_HWC[:, :, 0] if channels == 1 else pixels_HWC)
    return np.array(image.resize(size, Image.Resampling.LANCZOS)).reshape(size[1], size[0], channels)
