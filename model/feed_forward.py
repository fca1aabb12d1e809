"""Position-wise feed-forward layers, plain and gated."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, relu, silu

from model.options import GATED, BlockOptions


def quick_gelu(x: Tensor) -> Tensor:
    """X sigmoid(1.702 x), the approximation of Hendrycks and Gimpel 2016 (section 2) that CLIP uses."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": relu,
    "gelu": gelu,
    "gelu_tanh": partial(gelu, approximate="tanh"),
    "quick_gelu": quick_gelu,
    "silu": silu,
    "reglu": relu,
    "geglu": gelu,
    "geglu_tanh": partial(gelu, approximate="tanh"),
    "swiglu": silu,
}
"By name; gated layers under their own."


class FeedForward(nn.Module):
    """Two matrices and an activation: [B, T, D] -> [B, T, D]."""

    def __init__(self, options: BlockOptions) -> None:
        super().__init__()
        self._activation = ACTIVATIONS[options.feed_forward]
        self.up = nn.Linear(options.dim, options.hidden_width, bias=options.bias)
        self.down = nn.Linear(options.hidden_width, options.dim, bias=options.bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """down(activation(up(x)))."""
        return self.down(self._activation(self.up(x_BTD)))  # type: ignore[no-any-return]


class GatedFeedForward(nn.Module):
    """Three matrices and an activated gate (Shazeer 2020): [B, T, D] -> [B, T, D]."""

    def __init__(self, options: BlockOptions) -> None:
        super().__init__()
        self._activation = ACTIVATIONS[options.feed_forward]
        self.gate = nn.Linear(options.dim, options.hidden_width, bias=options.bias)
        self.up = nn.Linear(options.dim, options.hidden_width, bias=options.bias)
        self.down = nn.Linear(options.hidden_width, options.dim, bias=options.bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """down(activation(gate(x)) * up(x))."""
        return self.down(self._activation(self.gate(x_BTD)) * self.up(x_BTD))  # type: ignore[no-any-return]


def build_feed_forward(options: BlockOptions) -> nn.Module:
    """The feed-forward layer that `options` name."""
    return GatedFeedForward(options) if options.feed_forward in GATED else FeedForward(options)
