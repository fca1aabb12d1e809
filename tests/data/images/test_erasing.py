from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from data.images.erasing import erased_box
from data.sample import Transform


def erased(made: Transform, image: np.ndarray, seed: int) -> np.ndarray:
    return made({"image": image}, np.random.default_rng(seed))["image"]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("normalised", [True, False])
def test_it_erases_what_torchvision_erases(
    seed: int, normalised: bool, transform: Callable[..., Any], photo: np.ndarray
) -> None:
    image = photo.transpose(2, 0, 1).astype(np.float32) / 255 if normalised else photo
    rng = np.random.default_rng(seed)
    rng.random()  # whether to erase at all
    box = erased_box(rng, photo.shape[:2], (0.02, 0.33), (0.3, 3.3))
    assert box is not None
    tensor = torch.from_numpy(image.copy()) if normalised else torch.from_numpy(image.copy()).permute(2, 0, 1)
    parameters = dict(zip("ijhw", box, strict=True)) | {"v": torch.full((1, 1, 1), 7.0).to(tensor.dtype)}
    expected = v2.RandomErasing().transform(tensor, parameters)
    found = erased(transform(kind="random_erasing", probability=1.0, value=7.0), image, seed)
    assert np.array_equal(found, (expected if normalised else expected.permute(1, 2, 0)).numpy())


def test_boxes_are_distributed_like_those_of_torchvision() -> None:
    theirs, rng = v2.RandomErasing(), np.random.default_rng(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [theirs.make_params([torch.zeros(3, 47, 61)]) for _ in range(2000)]
    expected = np.array([[box[key] for key in "ijhw"] for box in drawn])
    boxes = [erased_box(rng, (47, 61), (0.02, 0.33), (0.3, 3.3)) for _ in range(2000)]
    found = np.array([box or (0, 0, 47, 61) for box in boxes])
    error = 5 * (found.std(axis=0) + expected.std(axis=0)) / np.sqrt(2000)
    assert (np.abs(found.mean(axis=0) - expected.mean(axis=0)) <= error).all()
    assert (np.abs(found.std(axis=0) - expected.std(axis=0)) <= 2 * error).all()


def test_noise_is_standard_normal_after_normalisation_and_bytes_before(transform: Callable[..., Any]) -> None:
    made = transform(kind="random_erasing", probability=1.0, scale=[0.5, 0.5], ratio=[1.0, 1.0], value="random")
    noise = erased(made, np.full((3, 80, 80), np.nan, dtype=np.float32), 0)
    noise = noise[~np.isnan(noise)]
    assert len(noise) == 3 * 57 * 57
    assert abs(noise.mean()) < 0.05
    assert abs(noise.std() - 1) < 0.05
    bytes_found = erased(made, np.zeros((80, 80, 3), dtype=np.uint8), 0)
    assert len(np.unique(bytes_found)) == 256


def test_a_rectangle_that_never_fits_erases_nothing(transform: Callable[..., Any], photo: np.ndarray) -> None:
    made = transform(kind="random_erasing", probability=1.0, scale=[1.0, 1.0])
    assert np.array_equal(erased(made, photo, 0), photo)
