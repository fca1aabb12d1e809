from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from data.images.crops import random_box
from data.sample import SampleError, Transform


def chw(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1)


def result(made: Transform, image: np.ndarray, seed: int = 0) -> np.ndarray:
    return made({"image": image}, np.random.default_rng(seed))["image"]


def equals(found: np.ndarray, expected: torch.Tensor) -> bool:
    return np.array_equal(found, expected.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [20, [20, 33], 90])
def test_resize_is_that_of_torchvision(
    interpolation: str, antialias: bool, size: Any, transform: Callable[..., Transform], photo: np.ndarray
) -> None:
    made = transform(kind="resize", size=size, interpolation=interpolation, antialias=antialias)
    theirs = v2.Resize(size, interpolation=v2.InterpolationMode(interpolation), antialias=antialias)
    assert equals(result(made, photo), theirs(chw(photo)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_random_resized_crop_is_that_of_torchvision(
    seed: int, interpolation: str, transform: Callable[..., Transform], photo: np.ndarray
) -> None:
    made = transform(kind="random_resized_crop", size=[24, 30], interpolation=interpolation)
    top, left, height, width = random_box(np.random.default_rng(seed), photo.shape[:2], (0.08, 1.0), (3 / 4, 4 / 3))
    theirs = v2.RandomResizedCrop([24, 30], interpolation=v2.InterpolationMode(interpolation))
    expected = theirs.transform(chw(photo), {"top": top, "left": left, "height": height, "width": width})
    assert equals(result(made, photo, seed), expected)


@pytest.mark.parametrize("size", [(47, 61), (30, 100), (100, 30), (1, 5000)])
def test_boxes_are_distributed_like_those_of_torchvision(size: tuple[int, int]) -> None:
    theirs = v2.RandomResizedCrop(8)
    rng = np.random.default_rng(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [theirs.make_params([torch.zeros(3, *size)]) for _ in range(2000)]
    expected = np.array([[box["top"], box["left"], box["height"], box["width"]] for box in drawn])
    found = np.array([random_box(rng, size, (0.08, 1.0), (3 / 4, 4 / 3)) for _ in range(2000)])
    error = 5 * (found.std(axis=0) + expected.std(axis=0)) / np.sqrt(2000)
    assert (np.abs(found.mean(axis=0) - expected.mean(axis=0)) <= error + 1e-9).all()
    assert (np.abs(found.std(axis=0) - expected.std(axis=0)) <= 2 * error + 1e-9).all()


@settings(max_examples=100, deadline=None)
@given(
    height=st.integers(1, 200),
    width=st.integers(1, 200),
    low=st.floats(0.01, 1),
    ratio=st.floats(0.1, 10),
    seed=st.integers(0, 99),
)
def test_boxes_lie_in_the_image(height: int, width: int, low: float, ratio: float, seed: int) -> None:
    box = random_box(np.random.default_rng(seed), (height, width), (low, 1.0), (ratio, 2 * ratio))
    top, left, box_height, box_width = box
    assert 0 <= top < top + box_height <= height
    assert 0 <= left < left + box_width <= width


def test_the_area_of_boxes_is_uniform_and_their_ratio_log_uniform() -> None:
    rng = np.random.default_rng(1)
    boxes = np.array([random_box(rng, (1000, 1000), (0.2, 0.5), (0.5, 2.0)) for _ in range(4000)], dtype=float)
    shares, logs = boxes[:, 2] * boxes[:, 3] / 1e6, np.log2(boxes[:, 3] / boxes[:, 2])
    for values, low, high in ((shares, 0.2, 0.5), (logs, -1, 1)):
        uniform = (np.sort(values) - low) / (high - low)
        assert np.abs(uniform - np.linspace(0, 1, 4000)).max() < 0.04


@pytest.mark.parametrize("size", [16, [10, 31], [47, 61]])
def test_center_crop_is_that_of_torchvision(size: Any, transform: Callable[..., Transform], photo: np.ndarray) -> None:
    assert equals(result(transform(kind="center_crop", size=size), photo), v2.CenterCrop(size)(chw(photo)))


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
@pytest.mark.parametrize("seed", range(3))
def test_random_crop_is_a_piece_of_the_padded_image(
    mode: Any, seed: int, transform: Callable[..., Transform], photo: np.ndarray
) -> None:
    made = transform(kind="random_crop", size=[40, 50], padding=6, padding_mode=mode)
    padded = np.pad(photo, [(6, 6), (6, 6), (0, 0)], mode=mode)
    rng = np.random.default_rng(seed)
    top, left = rng.integers(59 - 40 + 1), rng.integers(73 - 50 + 1)
    assert np.array_equal(result(made, photo, seed), padded[top : top + 40, left : left + 50])


def test_random_crop_reaches_every_place(transform: Callable[..., Transform]) -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    made = transform(kind="random_crop", size=2)
    assert {int(result(made, image, seed)[0, 0, 0]) for seed in range(100)} == {0, 1, 2, 4, 5, 6}


@pytest.mark.parametrize("kind", ["center_crop", "random_crop"])
def test_a_crop_larger_than_the_image_is_an_error(kind: str, transform: Callable[..., Transform], photo: Any) -> None:
    with pytest.raises(SampleError, match=f"{kind}: the image has 47 x 61 pixels, the crop 48 x 48; resize first"):
        result(transform(kind=kind, size=48), photo)


@pytest.mark.parametrize(("mode", "padding"), [("reflect", 2), ("symmetric", 3)])
def test_a_mirror_shows_no_more_than_the_image(mode: str, padding: int, transform: Callable[..., Transform]) -> None:
    image = np.zeros((2, 5, 3), dtype=np.uint8)
    with pytest.raises(SampleError, match=rf"padding {padding} by '{mode}'.*2 x 5"):
        result(transform(kind="random_crop", size=2, padding=padding, padding_mode=mode), image)
    assert result(transform(kind="random_crop", size=2, padding=padding - 1, padding_mode=mode), image).shape == (
        2,
        2,
        3,
    )
