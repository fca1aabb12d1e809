from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from data.sample import Transform


@pytest.mark.parametrize(("kind", "axis"), [("horizontal_flip", 1), ("vertical_flip", 0)])
def test_flips_happen_as_often_as_asked(kind: str, axis: int, transform: Callable[..., Transform]) -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    flipped = np.flip(image, axis)
    made = transform(kind=kind, probability=0.3)
    results = [made({"image": image}, np.random.default_rng(seed))["image"] for seed in range(1000)]
    assert all(np.array_equal(found, image) or np.array_equal(found, flipped) for found in results)
    assert 250 < sum(np.array_equal(found, flipped) for found in results) < 350


@pytest.mark.parametrize("kind", ["horizontal_flip", "vertical_flip"])
def test_never_and_always(kind: str, transform: Callable[..., Transform], photo: np.ndarray) -> None:
    axis = 1 if kind == "horizontal_flip" else 0
    for seed in range(20):
        never = transform(kind=kind, probability=0.0)({"image": photo}, np.random.default_rng(seed))
        always = transform(kind=kind, probability=1.0)({"image": photo}, np.random.default_rng(seed))
        assert np.array_equal(never["image"], photo)
        assert np.array_equal(always["image"], np.flip(photo, axis))
