"""Images in a terminal: coloured half blocks, or characters where there are no colours."""

from __future__ import annotations

import numpy as np
from PIL import Image

from data.images.decode import Pixels, over_white

_DARK_TO_BRIGHT = " .:-=+*#%@"
_UPPER_HALF_BLOCK = "\u2580"
_RESET = "\x1b[0m"


def thumbnail(image_HWC: Pixels, width: int) -> str:
    """The image in `width` columns of 24-bit ANSI colours; one character shows two pixels, one above the other.

    Args:
        image_HWC: [H, W, C] uint8, C in (1, 3, 4). Transparency is laid over white.
        width: columns, above 0.
    """
    pixels = _scaled(image_HWC, width, 1.0).astype(int)
    if len(pixels) % 2:
        pixels = np.concatenate([pixels, pixels[-1:]])
    lines = []
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        cells = [
            f"\x1b[38;2;{r};{g};{b}m\x1b[48;2;{R};{G};{B}m{_UPPER_HALF_BLOCK}"
            for (r, g, b), (R, G, B) in zip(upper, lower, strict=True)
        ]
        lines.append("".join(cells) + _RESET)
    return "\n".join(lines)


def plain_thumbnail(image_HWC: Pixels, width: int) -> str:
    """The image in `width` columns of ASCII characters, denser where it is brighter; for files and pipes."""
    luma = _scaled(image_HWC, width, 0.5) @ np.array([0.299, 0.587, 0.114])
    levels = (luma * len(_DARK_TO_BRIGHT) / 256).astype(int)
    return "\n".join("".join(_DARK_TO_BRIGHT[level] for level in row) for row in levels)


def _scaled(image_HWC: Pixels, width: int, height_factor: float) -> Pixels:
    """[height, width, 3], where one row stands for `1 / height_factor` pixels of the proportions kept."""
    channels = image_HWC.shape[2]
    image = over_white(Image.fromarray(image_HWC[:, :, 0] if channels == 1 else image_HWC))
    height = max(1, round(image.height / image.width * width * height_factor))
    return np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BOX))
