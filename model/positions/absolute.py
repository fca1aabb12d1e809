"""Positions that are added to the stream before the first block."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from model.positions import options
from model.tokens import Tokens


class LearnedPositions(nn.Module):
    """A vector for every place: Tokens -> [1 or B, T, D].

    The table holds `num_prefix` vectors for the tokens without a place, then one for every place; a grid is laid
    out row by row. On a grid of another size its part is interpolated bicubically (Dosovitskiy et al. 2021, 3.2).
    """

    def __init__(
        self,
        options: options.LearnedPositions,
        dim: int,
        *,
        num_positions: int,
        num_prefix: int = 0,
        grid: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self._first = options.offset + num_prefix
        self._num_prefix = num_prefix
        self._offset = options.offset
        self._grid = grid
        self.table = nn.Embedding(self._first + num_positions, dim)

    @property
    def first_place(self) -> int | None:
        """The row of the table that the places of a sequence start at; None where the table is a grid."""
        return self._first if self._grid is None else None

    def forward(self, tokens: Tokens) -> Tensor:
        """The vectors to add."""
        if tokens.positions.dim() == 2:
            return self.table(tokens.positions + self._first)  # type: ignore[no-any-return]
        assert self._grid is not None
        assert tokens.grid is not None
        all_places = self.table(torch.arange(self.table.num_embeddings, device=tokens.x.device))
        on_grid = _resized(all_places[self._first :], self._grid, tokens.grid)
        place_BT = _row_by_row(tokens.positions[:, tokens.num_prefix :], tokens.grid)
        prefix = all_places[self._offset : self._first]
        return torch.cat((prefix.expand(len(place_BT), -1, -1), on_grid[place_BT]), dim=1)


class SinusoidalPositions(nn.Module):
    """Fixed sines and cosines: Tokens -> [1 or B, T, D]. On a grid, every axis has its share of the width.

    Tokens without a place get none.
    """

    def __init__(self, options: options.SinusoidalPositions, dim: int, **_sizes: object) -> None:
        super().__init__()
        self._options, self._dim = options, dim

    def forward(self, tokens: Tokens) -> Tensor:
        """The vectors to add, in the precision of the stream."""
        places = tokens.positions
        if places.dim() == 2:
            found = self._of(places, self._dim)
        else:
            width = self._dim // places.shape[-1]
            found = torch.cat([self._of(axis, width) for axis in places.unbind(-1)], dim=-1)
        if tokens.num_prefix:
            found = torch.cat((torch.zeros_like(found[:, : tokens.num_prefix]), found[:, tokens.num_prefix :]), dim=1)
        return found.to(tokens.x.dtype)

    def _of(self, places_BT: Tensor, width: int) -> Tensor:
        exponents = torch.arange(0, width, 2, device=places_BT.device, dtype=torch.float64) / width
        angles = places_BT[..., None].double() * (1.0 / self._options.base**exponents)
        pair = (angles.sin(), angles.cos())
        if self._options.layout == "halves":
            return torch.cat(pair, dim=-1)
        return torch.stack(pair, dim=-1).flatten(-2)


def _row_by_row(places_BTA: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Places on a grid -> their numbers [B, T], row by row."""
    strides = [math.prod(grid[axis + 1 :]) for axis in range(len(grid))]
    return (places_BTA * torch.tensor(strides, device=places_BTA.device)).sum(-1)


def _resized(table_ND: Tensor, grid: tuple[int, ...], wanted: tuple[int, ...]) -> Tensor:
    """The table of a grid for one of another size."""
    if grid == wanted:
        return table_ND
    if len(grid) != 2:
        raise ValueError(f"positions on a grid of {len(grid)} axes cannot be interpolated from {grid} to {wanted}")
    picture = table_ND.float().view(1, *grid, -1).permute(0, 3, 1, 2)
    resized = interpolate(picture, size=wanted, mode="bicubic", align_corners=False)
    return resized.permute(0, 2, 3, 1).flatten(0, 2).to(table_ND.dtype)
