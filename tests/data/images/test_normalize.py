from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from data.sample import SampleError


@pytest.mark.parametrize(
    ("options", "mean", "std"),
    [
        ({}, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ({"preset": "half"}, [0.5], [0.5]),
        ({"mean": [0.1, 0.2, 0.3], "std": [1.0, 2.0, 3.0]}, [0.1, 0.2, 0.3], [1.0, 2.0, 3.0]),
        ({"mean": [0.1], "std": [2.0]}, [0.1], [2.0]),
    ],
)
def test_it_is_what_torchvision_does(
    options: dict[str, Any], mean: list[float], std: list[float], transform: Callable[..., Any], photo: np.ndarray
) -> None:
    found = transform(kind="normalize", **options)({"image": photo}, np.random.default_rng(0))["image"]
    theirs = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert np.array_equal(found, theirs(photo.copy()).numpy())
    plain = (photo.transpose(2, 0, 1) / 255 - np.reshape(mean, (-1, 1, 1))) / np.reshape(std, (-1, 1, 1))
    assert np.allclose(found, plain, atol=1e-6)


def test_half_gives_values_between_minus_one_and_one_for_any_channels(transform: Callable[..., Any]) -> None:
    for channels in (1, 3, 4):
        image = np.array([0, 255], dtype=np.uint8).reshape(1, 2, 1).repeat(channels, axis=2)
        found = transform(kind="normalize", preset="half")({"image": image}, np.random.default_rng(0))["image"]
        assert found.tolist() == [[[-1.0, 1.0]]] * channels


def test_channels_that_do_not_fit_are_named(transform: Callable[..., Any]) -> None:
    with pytest.raises(SampleError, match="3 means and 3 deviations for an image of 1 channels; put rgb before"):
        transform(kind="normalize")({"image": np.zeros((2, 2, 1), dtype=np.uint8)}, np.random.default_rng(0))
