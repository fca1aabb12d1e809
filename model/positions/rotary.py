"""Rotary embedding of queries and keys, and positions within documents."""

from __future__ import annotations

import torch
from torch import Tensor


def positions_of(segments_BT: Tensor) -> Tensor:
    """Positions that restart at 0 with every segment: int64 [B, T]."""
    index_T = torch.arange(segments_BT.shape[1], device=segments_BT.device)
    is_first_BT = torch.ones_like(segments_BT, dtype=torch.bool)
    is_first_BT[:, 1:] = segments_BT[:, 1:] != segments_BT[:, :-1]
    first_BT = torch.where(is_first_BT, index_T, 0).cummax(dim=1).values
    return index_T - first_BT


def rotary_angles(positions: Tensor, head_width: int, base: float) -> tuple[Tensor, Tensor]:
    """Cosine and sine [B, 1, T, K] of the rotary angles (Su et al. 2021, eq. 15), in float32.

    Frequencies are laid out in two halves (K/2 pairs of dimensions i and i + K/2), as Llama's are. On a grid the
    pairs are dealt out to the axes, one contiguous share each (Heo et al. 2024, axial).

    Args:
        positions: [B, T], or [B, T, axes].
        head_width: K, a multiple of two per axis.
        base: base of the frequencies.
    """
    positions_BTA = positions if positions.dim() == 3 else positions[..., None]
    width = head_width // positions_BTA.shape[-1]
    exponents = torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) / width
    angles = (positions_BTA[..., None].float() * (1.0 / base**exponents)).flatten(2)[:, None]
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x_BHTK: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each pair of dimensions of `x` by its angle."""
    cos, sin = angles
    first, second = x_BHTK.chunk(2, dim=-1)
    turned = torch.cat((-second, first), dim=-1)
    return (x_BHTK * cos + turned * sin).to(x_BHTK.dtype)
