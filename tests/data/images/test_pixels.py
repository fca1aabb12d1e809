"""What all transforms promise: nothing global is touched, nothing given is changed, one stream decides."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from data.sample import Sample, SampleError, Transform

CROP = {"kind": "random_resized_crop", "size": 24}
EXAMPLES: dict[str, dict[str, Any]] = {
    "resize": {"size": [20, 30]},
    "random_resized_crop": {"size": 24},
    "center_crop": {"size": 16},
    "random_crop": {"size": 32, "padding": 4},
    "horizontal_flip": {},
    "vertical_flip": {},
    "color_jitter": {"hue": 0.2},
    "grayscale": {"probability": 0.5},
    "solarize": {"probability": 0.5},
    "gaussian_blur": {"kernel_size": 7},
    "rand_augment": {},
    "random_erasing": {"value": "random"},
    "normalize": {},
    "rgb": {},
    "multi_crop": {"views": {"global": {"count": 2, "transforms": [CROP, {"kind": "normalize"}]}}},
    "random_mask": {},
    "block_mask": {"ratio": [0.1, 0.5]},
    "multi_block_mask": {},
}
RANDOM = sorted(EXAMPLES.keys() - {"resize", "center_crop", "normalize", "rgb"})


def states() -> list[object]:
    """The states of all global generators."""
    return [torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()]


def digest(sample: Sample) -> list[tuple[str, object]]:
    return [(name, value.tolist()) for name, value in sample.items()]


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest, transform: Callable[..., Transform]) -> Transform:
    return transform(kind=request.param, **EXAMPLES[request.param])


def test_global_generators_are_not_touched(example: Transform, photo: np.ndarray) -> None:
    before = states()
    for seed in range(12):
        example({"image": photo}, np.random.default_rng(seed))
    assert states() == before


def test_the_sample_is_left_as_it_is_and_its_other_fields_are_kept(example: Transform, photo: np.ndarray) -> None:
    image, label = photo.copy(), np.array(3)
    sample: Sample = {"image": image, "label": label}
    for seed in range(12):
        made = example(sample, np.random.default_rng(seed))
        assert made["label"] is label
    assert list(sample) == ["image", "label"]
    assert sample["image"] is image
    assert np.array_equal(image, photo)


def test_the_generator_decides_and_nothing_else(example: Transform, photo: np.ndarray) -> None:
    for seed in range(6):
        torch.manual_seed(seed)
        first = example({"image": photo}, np.random.default_rng(5))
        assert digest(first) == digest(example({"image": photo}, np.random.default_rng(5)))


@pytest.mark.parametrize("kind", RANDOM)
def test_another_generator_gives_another_result(kind: str, transform: Callable[..., Transform], photo: Any) -> None:
    made = transform(kind=kind, **EXAMPLES[kind])
    found = {str(digest(made({"image": photo}, np.random.default_rng(seed)))) for seed in range(12)}
    assert len(found) > 1


@pytest.mark.parametrize(
    "kind", sorted(EXAMPLES.keys() - {"multi_crop", "random_mask", "block_mask", "multi_block_mask"})
)
def test_another_field_can_be_named(kind: str, transform: Callable[..., Transform], photo: np.ndarray) -> None:
    made = transform(kind=kind, field="left", **EXAMPLES[kind])
    sample = made({"left": photo, "right": photo}, np.random.default_rng(0))
    assert sample["right"] is photo
    plain = transform(kind=kind, **EXAMPLES[kind])({"image": photo}, np.random.default_rng(0))
    assert np.array_equal(sample["left"], plain["image"])


def test_arrays_of_any_layout_in_memory_are_taken(transform: Callable[..., Transform], photo: np.ndarray) -> None:
    made = transform(kind="resize", size=[20, 30])
    expected = made({"image": photo}, np.random.default_rng(0))["image"]
    for layout in (photo[::-1].copy()[::-1], photo.copy(order="F"), np.repeat(photo, 2, axis=1)[:, ::2]):
        assert np.array_equal(made({"image": layout}, np.random.default_rng(0))["image"], expected)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4), dtype=np.uint8), r"uint8 of shape \[4, 4\], expected an image"),
        (np.zeros((4, 4, 3), dtype=np.int64), "int64 of shape"),
        (np.zeros((0, 4, 3), dtype=np.uint8), r"shape \[0, 4, 3\]"),
    ],
)
def test_what_is_no_image_is_named(image: np.ndarray, message: str, transform: Callable[..., Transform]) -> None:
    with pytest.raises(SampleError, match=f"field 'image': .*{message}"):
        transform(kind="horizontal_flip")({"image": image}, np.random.default_rng(0))


def test_a_missing_field_is_named(transform: Callable[..., Transform], photo: np.ndarray) -> None:
    for kind in ("horizontal_flip", "multi_crop"):
        with pytest.raises(SampleError, match=r"field 'image'.* the sample has picture"):
            transform(kind=kind, **EXAMPLES[kind])({"picture": photo}, np.random.default_rng(0))


@pytest.mark.parametrize("kind", ["color_jitter", "grayscale", "solarize", "rand_augment", "rgb", "normalize"])
def test_colours_are_changed_before_normalisation_only(
    kind: str, transform: Callable[..., Transform], photo: Any
) -> None:
    rng = np.random.default_rng(0)
    normal = transform(kind="normalize")({"image": photo}, rng)
    with pytest.raises(SampleError, match=f"put {kind} before normalize"):
        transform(kind=kind)(normal, rng)


@pytest.mark.parametrize("kind", ["color_jitter", "grayscale", "solarize", "rand_augment"])
def test_transparency_has_to_go_before_colours_are_changed(kind: str, transform: Callable[..., Transform]) -> None:
    with pytest.raises(SampleError, match=f"4 channels, expected 1 or 3; put rgb before {kind}"):
        transform(kind=kind)({"image": np.zeros((4, 4, 4), dtype=np.uint8)}, np.random.default_rng(0))


@pytest.mark.parametrize("kind", ["resize", "random_resized_crop", "center_crop", "random_crop", "horizontal_flip"])
def test_geometry_works_on_normalised_images_too(kind: str, transform: Callable[..., Transform], photo: Any) -> None:
    made, normalize = transform(kind=kind, **EXAMPLES[kind]), transform(kind="normalize", preset="half")
    before = made(normalize({"image": photo}, np.random.default_rng(0)), np.random.default_rng(1))["image"]
    after = normalize(made({"image": photo}, np.random.default_rng(1)), np.random.default_rng(0))["image"]
    assert before.dtype == np.float32
    border = 0 if kind != "random_crop" else 1  # padding is black before, gray after
    assert np.quantile(np.abs(before - after), 0.8) <= 1.01 / 127.5 + border
