"""One small example of every prior."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from data.priors.options import (
    AdditionOptions,
    BanditOptions,
    CopyOptions,
    ForestOptions,
    LinearRegressionOptions,
    PriorOptions,
    RecallOptions,
    StructuralCausalOptions,
)
from data.sample import Sample

EXAMPLES: dict[str, PriorOptions] = {
    "linear_regression": LinearRegressionOptions(seed=3, size=50, tasks=5),
    "structural_causal": StructuralCausalOptions(seed=3, size=50, rows=32, max_features=6, missing=0.2),
    "forest": ForestOptions(seed=3, size=50, rows=32, max_features=6, base_rows=64),
    "bandit": BanditOptions(seed=3, size=50, horizon=20),
    "copy": CopyOptions(seed=3, size=50, length=64),
    "recall": RecallOptions(seed=3, size=50, length=64, min_string=8),
    "addition": AdditionOptions(seed=3, size=50, length=64),
}


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest) -> PriorOptions:
    """Options of one prior after the other."""
    return EXAMPLES[request.param]


@pytest.fixture(scope="session")
def digest() -> Callable[[Sample], str]:
    """A hash of names, types, shapes and bytes of a sample."""

    def of(sample: Sample) -> str:
        found = hashlib.sha256()
        for name, value in sorted(sample.items()):
            found.update(f"{name} {value.dtype.str} {value.shape}".encode() + value.tobytes())
        return found.hexdigest()[:16]

    return of
