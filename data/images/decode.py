"""Encoded images -> arrays, by Pillow.

One decoder for every format, and packing can check images without importing torch. torchvision.io gives
the same bytes of a JPEG in 65-80% of the time (512 x 512: 1.0 ms, Pillow 1.5), but is deprecated since 0.29.
"""

from __future__ import annotations

import contextlib
import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Mode = Literal["rgb", "gray", "unchanged"]
Pixels = NDArray[np.uint8]

# Not more: some of Pillow's other readers start programs (EPS).
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
_WITH_ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
MAX_PIXELS = 89_478_485
"Larger images are refused: 256 MiB at three bytes a pixel, where Pillow begins to warn."


def decode_image(content: bytes, mode: Mode = "rgb", *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """[H, W, C] uint8, upright as EXIF says; the first frame of an animation.

    16-bit values are scaled to 8 bits, palettes and CMYK become RGB. Transparency is laid over white.

    Args:
        content: a JPEG, PNG, WebP, BMP, GIF or TIFF file.
        mode: `rgb` gives C = 3, `gray` C = 1 (ITU-R 601-2 luma), `unchanged` 1 (gray), 3 or 4 (with transparency).
        max_pixels: see `MAX_PIXELS`.

    Raises:
        ValueError: with a short reason, when it is damaged, too large or none of these.
    """
    image = open_image(content, max_pixels=max_pixels)
    try:
        image.load()
        _turn_upright(image)
        pixels = np.array(_converted(_eight_bits(image), mode))
    except ValueError:
        raise
    except Exception as error:  # Pillow's readers raise whatever the damage leads them to
        raise ValueError(f"damaged {image.format} image: {_reason(error)}") from None
    return pixels if pixels.ndim == 3 else pixels[:, :, np.newaxis]


def open_image(content: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Pillow's image, its header read and its pixels not yet.

    Raises:
        ValueError: with a short reason, when the header is damaged, the image too large, or it is none.
    """
    if not content:
        raise ValueError("an empty file")
    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
        width, height = image.size
    except Exception as error:  # as above
        raise ValueError(f"not an image, or its header is damaged: {_reason(error)}") from None
    if width * height > max_pixels:
        raise ValueError(f"{width} x {height} pixels, expected at most {max_pixels}; scale it down")
    return image


def over_white(image: Image.Image) -> Image.Image:
    """The image without transparency; one that has none (whose mode is not RGBA) as it is."""
    if image.mode != "RGBA":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _turn_upright(image: Image.Image) -> None:
    """Apply the EXIF orientation. EXIF that cannot be read counts as none, as it does for browsers."""
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)


def _eight_bits(image: Image.Image) -> Image.Image:
    """The same image in a mode of 8 bits."""
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"32-bit values (mode {image.mode}), whose range is not defined; convert it to 8 or 16 bits")
    if image.mode == "1":
        return image.convert("L")
    if image.mode == "P" or (image.mode in ("L", "RGB") and "transparency" in image.info):
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in _WITH_ALPHA:
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _converted(image: Image.Image, mode: Mode) -> Image.Image:
    if mode == "unchanged":
        return image
    return over_white(image).convert("RGB" if mode == "rgb" else "L")


def _reason(error: Exception) -> str:
    """One line, without the address of the buffer that Pillow puts into it."""
    if isinstance(error, OSError) and "cannot identify image file" in str(error):
        return "none of the JPEG, PNG, WebP, BMP, GIF and TIFF files that Pillow reads"
    return (str(error) or type(error).__name__).splitlines()[0]
