"""Rotary embedding of queries and keys, and positions within documents."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from model.positions.options import RotaryScaling


def positions_of(segments_BT: Tensor) -> Tensor:
    """Positions that restart at 0 with every segment: int64 [B, T]."""
    index_T = torch.arange(segments_BT.shape[1], device=segments_BT.device)
    is_first_BT = torch.ones_like(segments_BT, dtype=torch.bool)
    is_first_BT[:, 1:] = segments_BT[:, 1:] != segments_BT[:, :-1]
    first_BT = torch.where(is_first_BT, index_T, 0).cummax(dim=1).values
    return index_T - first_BT


def rotary_angles(
    positions: Tensor, head_width: int, base: float, scaling: RotaryScaling | None = None
) -> tuple[Tensor, Tensor]:
    """Cosine and sine [B, 1, T, K] of the rotary angles (Su et al. 2021, eq. 15), in float32.

    Frequencies are laid out in two halves (K/2 pairs of dimensions i and i + K/2), as Llama's are. On a grid the
    pairs are dealt out to the axes, one contiguous share each (Heo et al. 2024, axial).

    Args:
        positions: [B, T], or [B, T, axes].
        head_width: K, a multiple of two per axis.
        base: base of the frequencies.
        scaling: of the frequencies.
    """
    positions_BTA = positions if positions.dim() == 3 else positions[..., None]
    width = head_width // positions_BTA.shape[-1]
    exponents = torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) / width
    frequencies = 1.0 / base**exponents
    if scaling is not None:
        frequencies = _scaled(frequencies, scaling)
    angles = (positions_BTA[..., None].float() * frequencies).flatten(2)[:, None]
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def _scaled(frequencies: Tensor, scaling: RotaryScaling) -> Tensor:
    """Frequencies by the turns they take in the original length: slow ones divided, fast ones kept."""
    turns = scaling.original_length * frequencies / (2 * math.pi)
    kept = ((turns - scaling.low_factor) / (scaling.high_factor - scaling.low_factor)).clamp(0, 1)
    return (1 - kept) * frequencies / scaling.factor + kept * frequencies


def rotate(x_BHTK: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each pair of dimensions of `x` by its angle."""
    cos, sin = angles
    first, second = x_BHTK.chunk(2, dim=-1)
    turned = torch.cat((-second, first), dim=-1)
    return (x_BHTK * cos + turned * sin).to(x_BHTK.dtype)
