from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from model.initialisation import initial_value
from model.options import TransformerOptions
from model.transformer import Transformer

OptionsOf = Callable[..., TransformerOptions]

MATRIX = "transformer.blocks.0.mixer.query.weight"


def test_a_value_is_a_pure_function_of_seed_name_and_shape(options_of: OptionsOf) -> None:
    first = initial_value(MATRIX, (8, 16), 5, options_of())
    torch.manual_seed(99)
    initial_value("transformer.embedding.weight", (8, 16), 5, options_of())
    assert torch.equal(initial_value(MATRIX, (8, 16), 5, options_of(num_layers=7, dim=64, bias=True)), first)
    assert first.shape == (8, 16)
    assert first.dtype == torch.float32
    assert first.device.type == "cpu"


def test_another_seed_or_name_gives_another_value(options_of: OptionsOf) -> None:
    value = initial_value(MATRIX, (8, 16), 5, options_of())
    assert not torch.equal(initial_value(MATRIX, (8, 16), 6, options_of()), value)
    assert not torch.equal(initial_value(MATRIX.replace("query", "key"), (8, 16), 5, options_of()), value)
    assert not torch.equal(initial_value(MATRIX.replace("0", "1"), (8, 16), 5, options_of()), value)


def test_torchs_own_random_state_is_left_alone(options_of: OptionsOf) -> None:
    before = torch.get_rng_state()
    initial_value(MATRIX, (8, 16), 5, options_of())
    assert torch.equal(torch.get_rng_state(), before)


def test_matrices_have_the_asked_standard_deviation(options_of: OptionsOf) -> None:
    value = initial_value(MATRIX, (400, 400), 0, options_of(init={"std": 0.05}))
    # The standard error of 160,000 draws is 0.2 per cent.
    assert float(value.std()) == pytest.approx(0.05, rel=0.01)
    assert abs(float(value.mean())) < 0.05 * 0.02


@pytest.mark.parametrize("feed_forward", ["swiglu", "gelu"])
def test_exactly_the_projections_into_the_residual_stream_are_scaled(options_of: OptionsOf, feed_forward: str) -> None:
    options = options_of(num_layers=3, feed_forward=feed_forward, positions="learned")
    names = [f"transformer.{name}" for name, item in Transformer(options).named_parameters() if item.dim() > 1]
    stds = {name: float(initial_value(name, (200, 200), 0, options).std()) for name in names}
    scaled = {name for name, std in stds.items() if std == pytest.approx(0.02 / math.sqrt(6), rel=0.03)}
    assert scaled == {
        f"transformer.blocks.{layer}.{part}.weight"
        for layer in range(3)
        for part in ("mixer.output", "feed_forward.down")
    }
    assert all(stds[name] == pytest.approx(0.02, rel=0.03) for name in names if name not in scaled)


def test_norm_weights_are_one_and_biases_zero(options_of: OptionsOf) -> None:
    options = options_of(norm="layer", bias=True)
    vectors = [name for name, item in Transformer(options).named_parameters() if item.dim() == 1]
    for name in vectors:
        expected = torch.zeros(16) if name.endswith("bias") else torch.ones(16)
        assert torch.equal(initial_value(name, (16,), 0, options), expected)
    assert {name.rpartition(".")[2] for name in vectors} == {"weight", "bias"}
