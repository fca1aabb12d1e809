from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from data.images.blur import blur
from data.sample import SampleError, Transform


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
@pytest.mark.parametrize("kernel_size", [3, 9, 23])
def test_the_blur_is_that_of_torchvision_but_for_rounding(sigma: float, kernel_size: int, photo: np.ndarray) -> None:
    image = torch.from_numpy(photo.copy()).permute(2, 0, 1)
    expected = F.gaussian_blur(image, [kernel_size] * 2, [sigma] * 2)
    difference = (blur(image, kernel_size, sigma).int() - expected.int()).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 1e-3
    normal = image / 255
    assert torch.allclose(
        blur(normal, kernel_size, sigma), F.gaussian_blur(normal, [kernel_size] * 2, [sigma] * 2), atol=1e-6
    )


def test_its_width_is_drawn_uniformly(transform: Callable[..., Transform]) -> None:
    # A single bright row: how much stays on it falls with sigma.
    image = np.zeros((31, 31, 1), dtype=np.uint8)
    image[15] = 255
    made = transform(kind="gaussian_blur", kernel_size=21, sigma=[0.5, 2.5], probability=0.8)
    tops = [made({"image": image}, np.random.default_rng(seed))["image"][15, 15, 0] for seed in range(500)]
    widths = np.array([255 / (top * np.sqrt(2 * np.pi)) for top in tops if top < 255])
    assert 0.75 < len(widths) / 500 < 0.85
    assert 0.45 < widths.min() < 0.6
    assert 2.4 < widths.max() < 2.6
    assert abs(widths.mean() - 1.5) < 0.1


def test_a_kernel_larger_than_the_image_is_an_error(transform: Callable[..., Transform]) -> None:
    made = transform(kind="gaussian_blur", kernel_size=9, probability=0.0)
    with pytest.raises(SampleError, match="a kernel of 9 pixels is too large for an image of 4 x 30"):
        made({"image": np.zeros((4, 30, 3), dtype=np.uint8)}, np.random.default_rng(0))
    assert made({"image": np.zeros((5, 30, 3), dtype=np.uint8)}, np.random.default_rng(0))["image"].shape == (5, 30, 3)
