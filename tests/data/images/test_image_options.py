from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from configs.options import Part, import_object
from data.images.options import AnyImageTransform, MultiCropOptions


@pytest.mark.parametrize("options", get_args(AnyImageTransform))
def test_every_kind_builds_a_class(options: type[Part]) -> None:
    assert callable(import_object(options.builds))


def test_options_survive_being_written_and_read() -> None:
    view = {"kind": "random_resized_crop", "size": [8, 9], "scale": [0.4, 1]}
    options = MultiCropOptions.model_validate({"views": {"a": {"count": 2, "transforms": [view]}}})
    again = MultiCropOptions.model_validate(options.tree())
    assert again == options
    assert again.tree()["views"]["a"]["transforms"][0]["size"] == [8, 9]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"kind": "random_resized_crop", "size": 8, "scale": [1.0, 0.5]},
            r"expected \[low, high\], found \[1.0, 0.5\]",
        ),
        ({"kind": "random_resized_crop", "size": 8, "scale": [0.0, 0.5]}, "scale: expected values above 0"),
        ({"kind": "random_resized_crop", "size": 8, "scale": [0.5, 1.5]}, "above 0 and at most 1"),
        ({"kind": "random_resized_crop", "size": 0}, "greater than 0"),
        ({"kind": "resize", "size": [1, 2, 3]}, "size"),
        ({"kind": "gaussian_blur", "kernel_size": 4}, "expected an odd number, found 4"),
        ({"kind": "normalize", "mean": [0.5]}, "mean and std belong together"),
        ({"kind": "normalize", "mean": [0.5], "std": [0.0]}, "std: expected values above 0"),
        ({"kind": "random_mask", "size": 100, "patch_size": 16}, "100 x 100 is not a multiple of patch_size 16"),
        ({"kind": "block_mask", "ratio": [0.5, 1.5]}, "between 0 and 1"),
        ({"kind": "multi_block_mask", "target_aspect": [0.0, 1.0]}, "target_aspect: expected values above 0"),
        ({"kind": "multi_crop", "views": {}}, "views"),
        ({"kind": "multi_crop", "views": {"a b": {"transforms": [{"kind": "rgb"}]}}}, "'a b' cannot be part of a"),
        ({"kind": "multi_crop", "views": {"a": {"transforms": [{"kind": "croop"}]}}}, "unknown kind 'croop'"),
        ({"kind": "solarize", "treshold": 3}, "did you mean 'threshold'"),
    ],
)
def test_bad_options_are_named(keys: dict[str, Any], message: str, transform: Callable[..., Any]) -> None:
    with pytest.raises(ValidationError, match=message):
        transform(**keys)


def test_options_decoding_and_thumbnails_do_not_import_torch() -> None:
    modules = "data.images.options, data.images.decode, data.images.encode, data.images.thumbnail"
    code = f"import {modules}; import sys; assert not {{'torch', 'torchvision'}} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=True)


def test_options_do_not_import_pillow() -> None:
    code = "import data.images.options, sys; assert not {'PIL', 'torch'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=True)
