"""Positions that are added to the stream before the first block."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.positions import options
from model.positions.grid import resized, row_by_row
from model.tokens import Tokens


class LearnedPositions(nn.Module):
    """A vector for every place: Tokens -> [1 or B, T, D].

    The table holds `num_prefix` vectors for the first tokens without a place (the others of them get none), then one
    for every place; a grid is laid out row by row. On a grid of another size its part is interpolated bicubically
    (Dosovitskiy et al. 2021, 3.2).
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
        self._antialias = options.antialias
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
        on_grid = resized(all_places[self._first :], self._grid, tokens.grid, antialias=self._antialias)
        place_BT = row_by_row(tokens.positions[:, tokens.num_prefix :], tokens.grid)
        prefix = all_places[self._offset : self._first]
        without = prefix.new_zeros(tokens.num_prefix - len(prefix), prefix.shape[1])
        prefix_BPD = torch.cat((prefix, without)).expand(len(place_BT), -1, -1)
        return torch.cat((prefix_BPD, on_grid[place_BT]), dim=1)


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
            axes = places.unbind(-1)
            shares = [self._of(axis, width) for axis in (axes[::-1] if self._options.last_axis_first else axes)]
            found = torch.cat(shares, dim=-1)
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
