"""Vectors as they are: decoders of latents, stacks on top of another."""

from __future__ import annotations

from torch import nn

from model.embedders.options import VectorsOptions
from model.tokens import Tokens


class VectorEmbedder(nn.Module):
    """Tokens -> the same tokens."""

    def __init__(self, options: VectorsOptions, dim: int) -> None:
        super().__init__()

    def forward(self, tokens: Tokens) -> Tokens:
        """What was given."""
        return tokens
