from __future__ import annotations

import numpy as np
import pytest

from data.images.decode import decode_image
from data.images.encode import encode_image, shrink


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_is_lossless(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    assert np.array_equal(decode_image(encode_image(pixels, "png"), "unchanged"), pixels)


@pytest.mark.parametrize("image_format", ["jpg", "webp"])
def test_quality_is_heeded(image_format: str, photo: np.ndarray) -> None:
    sizes = [len(encode_image(photo, image_format, quality=quality)) for quality in (20, 95)]  # type: ignore[arg-type]
    assert sizes[0] < 0.7 * sizes[1]
    decoded = decode_image(encode_image(photo, image_format, quality=95))  # type: ignore[arg-type]
    assert np.abs(decoded.astype(int) - photo).mean() < 6


@pytest.mark.parametrize(("longest", "shape"), [(100, (47, 61)), (61, (47, 61)), (30, (23, 30)), (1, (1, 1))])
def test_the_longer_side_is_limited(longest: int, shape: tuple[int, int], photo: np.ndarray) -> None:
    for channels in (1, 3):
        small = shrink(photo[:, :, :channels], longest)
        assert small.shape == (*shape, channels)
    assert abs(float(shrink(photo, longest).mean()) - photo.mean()) < 60
