"""Grids: where tokens stand on one, how tables over one are read, and resized."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def grid_places(grid: tuple[int, ...], num_prefix: int = 0, *, device: torch.device | None = None) -> Tensor:
    """The place of every token on the grid, row by row: int64 [1, num_prefix + N, axes]; the prefix stands at 0."""
    axes = torch.meshgrid(*(torch.arange(size, device=device) for size in grid), indexing="ij")
    places_NA = torch.stack([axis.flatten() for axis in axes], dim=-1)
    return torch.cat((places_NA.new_zeros(num_prefix, len(grid)), places_NA))[None]


def row_by_row(places_BTA: Tensor, grid: tuple[int, ...]) -> Tensor:
    """The number of each place [B, T], counted row by row."""
    strides = [math.prod(grid[axis + 1 :]) for axis in range(len(grid))]
    return (places_BTA * torch.tensor(strides, device=places_BTA.device)).sum(-1)


def resized(
    table_ND: Tensor,
    grid: tuple[int, ...],
    wanted: tuple[int, ...],
    *,
    mode: Literal["bilinear", "bicubic"] = "bicubic",
    antialias: bool = False,
) -> Tensor:
    """The table over a grid, for a grid of another size, along one axis after the other.

    Interpolation is linear in the table and separable, so it is a matrix for every axis: its gradient is then
    deterministic on every device, which torch's own is not, and any number of axes will do.
    """
    if grid == wanted:
        return table_ND
    dtype = torch.promote_types(table_ND.dtype, torch.float32)
    box = table_ND.to(dtype).view(*grid, -1)
    for axis, (old, new) in enumerate(zip(grid, wanted, strict=True)):
        if old != new:
            unit = torch.eye(old, dtype=dtype, device=table_ND.device)[None, None]
            weights = interpolate(unit, size=(new, old), mode=mode, align_corners=False, antialias=antialias)
            box = torch.tensordot(weights[0, 0], box.movedim(axis, 0), dims=1).movedim(0, axis)
    return box.reshape(-1, table_ND.shape[-1]).to(table_ND.dtype)
