"""Position-wise feed-forward layers, plain and gated."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import gelu, silu

from model.options import TransformerOptions


class FeedForward(nn.Module):
    """Two matrices and a GELU (Hendrycks and Gimpel 2016): [B, T, D] -> [B, T, D]."""

    def __init__(self, options: TransformerOptions) -> None:
        super().__init__()
        self._approximate = "tanh" if options.feed_forward == "gelu_tanh" else "none"
        self.up = nn.Linear(options.dim, options.hidden_width, bias=options.bias)
        self.down = nn.Linear(options.hidden_width, options.dim, bias=options.bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """down(gelu(up(x)))."""
        return self.down(gelu(self.up(x_BTD), approximate=self._approximate))  # type: ignore[no-any-return]


class GatedFeedForward(nn.Module):
    """Three matrices and a SiLU gate (Shazeer 2020, SwiGLU): [B, T, D] -> [B, T, D]."""

    def __init__(self, options: TransformerOptions) -> None:
        super().__init__()
        self.gate = nn.Linear(options.dim, options.hidden_width, bias=options.bias)
        self.up = nn.Linear(options.dim, options.hidden_width, bias=options.bias)
        self.down = nn.Linear(options.hidden_width, options.dim, bias=options.bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """down(silu(gate(x)) * up(x))."""
        return self.down(silu(self.gate(x_BTD)) * self.up(x_BTD))  # type: ignore[no-any-return]


def build_feed_forward(options: TransformerOptions) -> nn.Module:
    """The feed-forward layer that `options` name."""
    return GatedFeedForward(options) if options.feed_forward == "swiglu" else FeedForward(options)
