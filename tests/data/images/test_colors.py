from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from data.sample import Transform


def chw(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1)


def result(made: Transform, image: np.ndarray, seed: int = 0) -> np.ndarray:
    return made({"image": image}, np.random.default_rng(seed))["image"]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("channels", [1, 3])
def test_color_jitter_is_that_of_torchvision(
    seed: int, channels: int, transform: Callable[..., Any], photo: np.ndarray
) -> None:
    image = photo[:, :, :channels]
    made = transform(kind="color_jitter", brightness=0.8, contrast=0.7, saturation=0.6, hue=0.2, probability=1.0)
    rng = np.random.default_rng(seed)
    rng.random()  # whether to jitter at all
    jitter = made.draw(rng)
    expected = v2.ColorJitter(0.8, 0.7, 0.6, 0.2).transform(
        chw(image),
        {
            "fn_idx": torch.tensor(jitter.order),
            "brightness_factor": jitter.brightness,
            "contrast_factor": jitter.contrast,
            "saturation_factor": jitter.saturation,
            "hue_factor": jitter.hue,
        },
    )
    assert np.array_equal(result(made, image, seed), expected.permute(1, 2, 0).numpy())


def test_jitter_is_drawn_from_its_ranges_in_every_order(transform: Callable[..., Any]) -> None:
    made = transform(kind="color_jitter", brightness=0.4, contrast=1.5, saturation=0.2, hue=0.1)
    rng = np.random.default_rng(0)
    drawn = [made.draw(rng) for _ in range(1000)]
    for name, low, high in (
        ("brightness", 0.6, 1.4),
        ("contrast", 0.0, 2.5),
        ("saturation", 0.8, 1.2),
        ("hue", -0.1, 0.1),
    ):
        values = np.array([getattr(jitter, name) for jitter in drawn])
        span = high - low
        assert low <= values.min() < low + 0.02 * span
        assert high - 0.02 * span < values.max() <= high
    assert len({jitter.order for jitter in drawn}) == 24


def test_a_strength_of_zero_leaves_the_pixels(transform: Callable[..., Any], photo: np.ndarray) -> None:
    made = transform(kind="color_jitter", brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, probability=1.0)
    assert np.array_equal(result(made, photo), photo)


@pytest.mark.parametrize("kind", ["color_jitter", "grayscale", "solarize"])
def test_changes_happen_as_often_as_asked(kind: str, transform: Callable[..., Any], photo: np.ndarray) -> None:
    made = transform(kind=kind, probability=0.4)
    small = photo[:4, :5]
    changed = sum(not np.array_equal(result(made, small, seed), small) for seed in range(1000))
    assert 350 < changed < 450


def test_grayscale_is_that_of_torchvision_and_keeps_the_channels(transform: Callable[..., Any], photo: Any) -> None:
    gray = result(transform(kind="grayscale", probability=1.0), photo)
    assert np.array_equal(gray, v2.Grayscale(3)(chw(photo)).permute(1, 2, 0).numpy())
    assert np.array_equal(result(transform(kind="grayscale", probability=1.0), photo[:, :, :1]), photo[:, :, :1])


@pytest.mark.parametrize("threshold", [0, 100, 128, 255])
def test_solarize_inverts_from_the_threshold_on(threshold: int, transform: Callable[..., Any], photo: Any) -> None:
    found = result(transform(kind="solarize", threshold=threshold, probability=1.0), photo)
    assert np.array_equal(found, np.where(photo >= threshold, 255 - photo, photo))
    assert np.array_equal(found, F.solarize(chw(photo), float(threshold)).permute(1, 2, 0).numpy())


def test_rgb_repeats_gray_keeps_colours_and_lays_transparency_over_white(
    transform: Callable[..., Any], photo: Any
) -> None:
    made = transform(kind="rgb")
    assert np.array_equal(result(made, photo), photo)
    assert np.array_equal(result(made, photo[:, :, :1]), np.repeat(photo[:, :, :1], 3, axis=2))
    alpha = np.random.default_rng(0).integers(0, 256, (*photo.shape[:2], 1), dtype=np.uint8)
    with_alpha = np.concatenate([photo, alpha], axis=2)
    image = Image.fromarray(with_alpha)
    pillow = np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))
    assert np.abs(result(made, with_alpha).astype(int) - pillow).max() <= 1
