"""Sequences of tuples: pairs (x, y) of a regression task, (state, action, reward) of a decision process."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.embedders.options import TupleElement, TuplesOptions
from model.tokens import Tokens


class TupleEmbedder(nn.Module):
    """One token for every element of every tuple, in order: x1 y1 x2 y2 ... (Garg et al. 2022, section 2).

    Every element has a map of its own, so no token needs to say which element it is.
    """

    def __init__(self, options: TuplesOptions, dim: int) -> None:
        super().__init__()
        self.options = options
        self.elements = nn.ModuleDict({name: _build(element, dim) for name, element in options.elements.items()})

    def forward(self, **fields: Tensor) -> Tokens:
        """The tokens.

        Args:
            fields: every element by name: [B, K] or [B, K, width] numbers, where what is not finite is missing, or
                [B, K] int64 categories, where what is below 0 is missing.
        """
        x_BKED = torch.stack([element(fields[name]) for name, element in self.elements.items()], dim=2)
        x_BTD = x_BKED.flatten(1, 2)
        return Tokens(x_BTD, torch.arange(x_BTD.shape[1], device=x_BTD.device)[None])


class _Numbers(nn.Module):
    """Numbers and which are missing -> vectors."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self._width = width
        self.linear = nn.Linear(2 * width, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, K] or [B, K, width] -> [B, K, D]."""
        x_BKW = x.reshape(*x.shape[:2], self._width)
        missing_BKW = ~x_BKW.isfinite()
        both = torch.cat((x_BKW.masked_fill(missing_BKW, 0.0), missing_BKW.to(x.dtype)), dim=-1)
        return self.linear(both.to(self.linear.weight.dtype))  # type: ignore[no-any-return]


class _Categories(nn.Embedding):
    """Categories -> vectors; the last entry is that of missing ones."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """[B, K] -> [B, K, D]."""
        return super().forward(input.where(input >= 0, self.num_embeddings - 1))


def _build(element: TupleElement, dim: int) -> nn.Module:
    return _Categories(element.classes + 1, dim) if element.classes else _Numbers(element.width, dim)
