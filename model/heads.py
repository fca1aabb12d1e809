"""What turns hidden states into predictions. Objectives choose one; imported models bring theirs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.embedders.text import TokenEmbedding
from model.feed_forward import ACTIVATIONS
from model.options import LMHeadOptions


class LMHead(nn.Module):
    """Logits [B, T, V] of hidden states [B, T, D]."""

    def __init__(self, options: LMHeadOptions, dim: int, vocab_size: int) -> None:
        super().__init__()
        self.options = options
        width = options.width or dim
        if options.transform is not None:
            self.dense = nn.Linear(dim, width, bias=options.transform_bias)
            if options.transform_norm:
                self.norm = nn.LayerNorm(width, eps=options.norm_eps, bias=options.transform_bias)
        if not options.tied:
            self.output = nn.Linear(width, vocab_size, bias=False)
        if options.bias:
            self.bias = Bias(vocab_size)

    def forward(self, x_BTD: Tensor, embedding: TokenEmbedding) -> Tensor:
        """The logits; `embedding` is the output matrix of a tied head."""
        options = self.options
        if options.transform is not None:
            x_BTD = ACTIVATIONS[options.transform](self.dense(x_BTD))
            if options.transform_norm:
                x_BTD = self.norm(x_BTD)
        if options.scale != 1.0:
            x_BTD = x_BTD * options.scale
        logits_BTV = embedding(x_BTD, as_head=True) if options.tied else self.output(x_BTD)
        return self.bias(logits_BTV) if options.bias else logits_BTV  # type: ignore[no-any-return]


class Bias(nn.Module):
    """Adds a learned vector to the last dimension."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Add it."""
        return x + self.bias
