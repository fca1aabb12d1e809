from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from model.feed_forward import FeedForward, GatedFeedForward, build_feed_forward
from model.options import TransformerOptions

OptionsOf = Callable[..., TransformerOptions]

X_BTD = torch.randn(2, 3, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2


def affine(x: Tensor, layer: nn.Module) -> Tensor:
    return x @ layer.weight.T + (0 if layer.bias is None else layer.bias)


def exact_gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def tanh_gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("name", "activation"), [("gelu", exact_gelu), ("gelu_tanh", tanh_gelu)])
def test_plain_layer_is_down_of_gelu_of_up(
    options_of: OptionsOf, name: str, activation: Callable[[Tensor], Tensor], bias: bool
) -> None:
    layer = build_feed_forward(options_of(feed_forward=name, bias=bias)).double()
    assert isinstance(layer, FeedForward)
    # The two GELUs differ by about 1e-4, so a tight tolerance tells them apart.
    torch.testing.assert_close(
        layer(X_BTD), affine(activation(affine(X_BTD, layer.up)), layer.down), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("bias", [False, True])
def test_gated_layer_is_down_of_silu_gate_times_up(options_of: OptionsOf, bias: bool) -> None:
    layer = build_feed_forward(options_of(feed_forward="swiglu", bias=bias)).double()
    assert isinstance(layer, GatedFeedForward)
    gate = affine(X_BTD, layer.gate)
    expected = affine(gate / (1 + (-gate).exp()) * affine(X_BTD, layer.up), layer.down)
    torch.testing.assert_close(layer(X_BTD), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "num_layers"), [("gelu", 2), ("gelu_tanh", 2), ("swiglu", 3)])
@pytest.mark.parametrize("bias", [False, True])
def test_bias_is_present_exactly_where_asked(options_of: OptionsOf, name: str, num_layers: int, bias: bool) -> None:
    names = [key for key, _ in build_feed_forward(options_of(feed_forward=name, bias=bias)).named_parameters()]
    assert sum(key.endswith(".weight") for key in names) == num_layers
    assert sum(key.endswith(".bias") for key in names) == num_layers * bias
