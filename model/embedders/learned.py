"""Learned vectors at fixed places: what stands for the whole, registers, masks."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LearnedTokens(nn.Module):
    """A few learned vectors, the same in every row: number of rows -> [B, count, D].

    Two dimensions, so that they start as embeddings do and not as the gains of a norm.
    """

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(count, dim))

    def forward(self, batch: int) -> Tensor:
        """The vectors for `batch` rows."""
        return self.weight.expand(batch, -1, -1)
