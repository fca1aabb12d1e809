from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from configs.options import Part
from data.sample import Sample, SampleError, Transform


def crop(size: int) -> dict[str, Any]:
    return {"kind": "random_resized_crop", "size": size, "scale": [0.2, 1.0]}


def test_groups_of_views_take_the_place_of_the_image(transform: Callable[..., Transform], photo: np.ndarray) -> None:
    normalize = {"kind": "normalize"}
    made = transform(
        kind="multi_crop",
        views={
            "global": {"count": 2, "transforms": [crop(32), normalize]},
            "local": {"count": 6, "transforms": [crop(16), {"kind": "horizontal_flip"}, normalize]},
        },
    )({"image": photo, "label": np.array(3)}, np.random.default_rng(0))
    assert {name: (value.shape, value.dtype.name) for name, value in made.items()} == {
        "label": ((), "int64"),
        "views_global": ((2, 3, 32, 32), "float32"),
        "views_local": ((6, 3, 16, 16), "float32"),
    }
    for views in (made["views_global"], made["views_local"]):
        assert len({view.tobytes() for view in views}) == len(views)


def test_views_are_what_their_transforms_make_one_after_the_other(
    transform: Callable[..., Transform], photo: Any
) -> None:
    made = transform(
        kind="multi_crop",
        field="picture",
        views={"a": {"transforms": [crop(8)]}, "b": {"count": 2, "transforms": [crop(4), {"kind": "solarize"}]}},
    )({"picture": photo}, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    large, small, solarize = transform(**crop(8)), transform(**crop(4)), transform(kind="solarize")
    assert np.array_equal(made["views_a"], [large({"image": photo}, rng)["image"]])
    assert np.array_equal(made["views_b"], [solarize(small({"image": photo}, rng), rng)["image"] for _ in range(2)])


def test_byol_and_dino_give_their_views_different_transforms(transform: Callable[..., Transform]) -> None:
    image = np.full((8, 8, 3), 200, dtype=np.uint8)
    solarize = {"kind": "solarize", "probability": 1.0}
    made = transform(
        kind="multi_crop",
        views={"first": {"transforms": [crop(4)]}, "second": {"transforms": [crop(4), solarize]}},
    )({"image": image}, np.random.default_rng(0))
    assert (made["views_first"] == 200).all()
    assert (made["views_second"] == 55).all()


def test_masks_of_views_are_stacked_beside_them(transform: Callable[..., Transform], photo: np.ndarray) -> None:
    mask = {"kind": "block_mask", "size": 32, "patch_size": 4, "ratio": [0.3, 0.3]}
    made = transform(kind="multi_crop", views={"global": {"count": 2, "transforms": [crop(32), mask]}})(
        {"image": photo}, np.random.default_rng(0)
    )
    assert made["mask_global"].shape == (2, 64)
    assert made["mask_global"].sum(axis=1).tolist() == [19, 19]
    assert not np.array_equal(*made["mask_global"])


def test_views_of_several_sizes_are_an_error(
    transform: Callable[..., Transform], photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "of_a_user", SimpleNamespace(Cut=Cut))
    made = transform(kind="multi_crop", views={"v": {"count": 20, "transforms": [{"kind": "of_a_user:Cut"}]}})
    with pytest.raises(SampleError, match=r"views 'v' have the shapes \[1, 61, 3\] and \[2, 61, 3\] \(image\)"):
        made({"image": photo}, np.random.default_rng(0))


class Cut:
    """One or two rows."""

    class Options(Part):
        """None."""

    def __init__(self, options: Options) -> None:
        pass

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        return {"image": sample["image"][: 1 + generator.integers(2)]}
