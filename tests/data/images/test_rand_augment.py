from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from data.images.rand_augment import OPERATIONS

THEIR_NAMES = {
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateX",
    "translate_y": "TranslateY",
    "rotate": "Rotate",
    "brightness": "Brightness",
    "color": "Color",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
    "identity": "Identity",
    "posterize": "Posterize",
    "solarize": "Solarize",
    "auto_contrast": "AutoContrast",
    "equalize": "Equalize",
}


def test_the_operations_are_those_of_torchvision() -> None:
    assert {THEIR_NAMES[name] for name in OPERATIONS} == set(v2.RandAugment._AUGMENTATION_SPACE)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("magnitude", [0, 4, 9, 30])
@pytest.mark.parametrize("sign", [-1, 1])
def test_every_operation_is_that_of_torchvision(
    operation: Any, interpolation: str, magnitude: int, sign: int, transform: Callable[..., Any], photo: np.ndarray
) -> None:
    image = torch.from_numpy(photo.copy()).permute(2, 0, 1)
    name = THEIR_NAMES[operation]
    strengths, signed = v2.RandAugment._AUGMENTATION_SPACE[name]
    values = strengths(31, *photo.shape[:2])
    strength = 0.0 if values is None else float(values[magnitude]) * (sign if signed else 1)
    theirs = v2.RandAugment(interpolation=v2.InterpolationMode(interpolation), fill=128)
    expected = theirs._apply_image_or_video_transform(
        image, name, strength, interpolation=theirs.interpolation, fill=theirs._fill
    )
    found = transform(kind="rand_augment", interpolation=interpolation).apply(operation, image, sign * magnitude / 30)
    # Their strengths are float32: a pixel that lies exactly between two may fall to the other side.
    assert ((found.int() - expected.int()).abs() > 1).float().mean() < 0.005


def test_all_operations_are_drawn(transform: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made, drawn = transform(kind="rand_augment", num_ops=3, magnitude=15), []
    monkeypatch.setattr(made, "apply", lambda operation, image, level: drawn.append((operation, level)) or image)
    for seed in range(200):
        made({"image": np.zeros((2, 2, 3), dtype=np.uint8)}, np.random.default_rng(seed))
    assert len(drawn) == 600
    assert {operation for operation, _ in drawn} == set(OPERATIONS)
    assert {level for _, level in drawn} == {-0.5, 0.5}


def test_no_operations_leave_the_pixels(transform: Callable[..., Any], photo: np.ndarray) -> None:
    found = transform(kind="rand_augment", num_ops=0)({"image": photo}, np.random.default_rng(0))
    assert np.array_equal(found["image"], photo)
