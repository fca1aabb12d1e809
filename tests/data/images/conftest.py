"""A picture, and transforms made from plain options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import pytest

from configs.options import Kind, Options, construct
from data.images.options import AnyImageTransform
from data.sample import Transform


class _Holder(Options):
    transform: Annotated[AnyImageTransform, Kind()]


@pytest.fixture(scope="session")
def transform() -> Callable[..., Any]:
    """The transform that a recipe would describe by these keys."""

    def make(**keys: Any) -> Transform:
        return construct(_Holder.model_validate({"transform": keys}).transform)  # type: ignore[return-value]

    return make


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """[47, 61, 3] uint8: smooth shapes with some noise, no two rows or columns alike. Read only."""
    y, x = np.mgrid[:47, :61]
    planes = [120 + 100 * np.sin(x / 7 + y / 11), 128 + 90 * np.cos(x / 5) * np.sin(y / 9), 2 * x + 2 * y]
    noise = np.random.default_rng(0).normal(0, 6, (47, 61, 3))
    pixels = (np.stack(planes, axis=-1) + noise).clip(0, 255).astype(np.uint8)
    pixels.flags.writeable = False
    return pixels
