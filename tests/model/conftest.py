"""Small models in float64, where two ways to compute the same thing must agree to rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from configs.recipe import merge
from model.options import TransformerOptions
from model.transformer import Transformer

OptionsOf = Callable[..., TransformerOptions]


@pytest.fixture(scope="session")
def options_of() -> OptionsOf:
    def make(**changes: object) -> TransformerOptions:
        small: dict[str, Any] = {
            "embedder": {"vocab_size": 23, "max_length": 16},
            "dim": 16,
            "num_layers": 2,
            "mixer": {"num_heads": 4},
            "hidden_dim": 24,
        }
        return TransformerOptions.model_validate(merge(small, changes))

    return make


@pytest.fixture(scope="session")
def model_of(options_of: OptionsOf) -> Callable[..., Transformer]:
    def make(**changes: object) -> Transformer:
        model = Transformer(options_of(**changes)).double()
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for parameter in model.parameters():
                # Far from the initial scheme: every bias and norm weight has to matter.
                parameter.normal_(0.0, 0.4, generator=generator)
        return model

    return make
