"""Positions that are added to attention scores: (queries, keys) -> [1 or B, H, T, S]."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from model.positions import options
from model.positions.grid import resized, row_by_row
from model.tokens import Tokens


class AlibiBias(nn.Module):
    """Minus the distance times a slope of the head (Press et al. 2022, section 3). Has no parameters."""

    def __init__(self, options: options.AlibiPositions, num_heads: int, *, bidirectional: bool) -> None:
        super().__init__()
        self._slopes = _slopes(num_heads)

    def forward(self, query_BT: Tensor, key_BS: Tensor) -> Tensor:
        """The bias for queries and keys at these positions."""
        distance = (query_BT[:, None, :, None] - key_BS[:, None, None, :]).abs()
        slopes_H = torch.tensor(self._slopes, device=query_BT.device, dtype=torch.float32)
        return -slopes_H[:, None, None] * distance


class RelativeBias(nn.Module):
    """A learned number for every bucket of distances and head (Raffel et al. 2020, section 2.1)."""

    def __init__(self, options: options.RelativePositions, num_heads: int, *, bidirectional: bool) -> None:
        super().__init__()
        self._options, self._bidirectional = options, bidirectional
        self.table = nn.Embedding(options.num_buckets, num_heads)

    def forward(self, query_BT: Tensor, key_BS: Tensor) -> Tensor:
        """The bias for queries and keys at these positions."""
        ahead = key_BS[:, None, :] - query_BT[:, :, None]
        return self.table(self._bucket(ahead)).permute(0, 3, 1, 2)  # type: ignore[no-any-return]

    def _bucket(self, ahead: Tensor) -> Tensor:
        """Numbers of the buckets: the first half one place each, the rest logarithmic up to `max_distance`.

        A bidirectional model has its own half of the buckets for what lies ahead; a causal one sees nothing there.
        """
        num_buckets, first = self._options.num_buckets, torch.zeros_like(ahead)
        if self._bidirectional:
            num_buckets //= 2
            first = (ahead > 0) * num_buckets
            distance = ahead.abs()
        else:
            distance = (-ahead).clamp(min=0)
        num_exact = num_buckets // 2
        ratio = (distance.clamp(min=1).float() / num_exact).log() / math.log(self._options.max_distance / num_exact)
        far = num_exact + (ratio * (num_buckets - num_exact)).long()
        return first + torch.where(distance < num_exact, distance, far.clamp(max=num_buckets - 1))


class GridBias(nn.Module):
    """A learned number for every pair of offsets and head: Tokens -> [1 or B, H, T, T] (Liu et al. 2021, section 3.2).

    Three more rows of the table are for pairs with tokens that have no place: from one of them, to one, and between
    two. On a grid of another size the part for offsets is interpolated bilinearly.
    """

    def __init__(self, options: options.GridBiasPositions, num_heads: int, *, grid: tuple[int, ...]) -> None:
        super().__init__()
        self._window = _offsets(grid)
        self.table = nn.Embedding(math.prod(self._window) + 3, num_heads)

    def forward(self, tokens: Tokens) -> Tensor:
        """The bias between all tokens."""
        assert tokens.grid is not None
        window, num_prefix = _offsets(tokens.grid), tokens.num_prefix
        rows = self.table(torch.arange(self.table.num_embeddings, device=tokens.x.device))
        rows = torch.cat((resized(rows[:-3], self._window, window, mode="bilinear"), rows[-3:]))
        places_BTA = tokens.positions
        behind_BTSA = places_BTA[:, :, None] - places_BTA[:, None]
        least = torch.tensor(tokens.grid, device=places_BTA.device) - 1
        index_BTS = row_by_row(behind_BTSA + least, window)
        index_BTS[:, :num_prefix] = len(rows) - 3
        index_BTS[:, :, :num_prefix] = len(rows) - 2
        index_BTS[:, :num_prefix, :num_prefix] = len(rows) - 1
        return rows[index_BTS].permute(0, 3, 1, 2)


def _offsets(grid: tuple[int, ...]) -> tuple[int, ...]:
    """How many different offsets there are along each axis."""
    return tuple(2 * size - 1 for size in grid)


def _slopes(num_heads: int) -> list[float]:
    """2^(-8 h / H) for powers of two; else those of the next smaller one, then every second of the next larger."""
    whole = 2 ** math.floor(math.log2(num_heads))
    slopes = [2 ** (-8 * (head + 1) / whole) for head in range(whole)]
    return slopes + [2 ** (-8 * (2 * head + 1) / (2 * whole)) for head in range(num_heads - whole)]
