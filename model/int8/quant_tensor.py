"""Matrices of small integers with one scale for every tile (Xi et al. 2024, section 4).

    x = quantise(x_NC)                                   int8 [N, C] and float32 [N / 32, C / 32]
    g = quantise(g_NC, noise=Noise(seed))                rounded at random, without bias
    x.dequantise(), x.transpose()                        the transpose is exact: nothing is rounded again

Gradients have outlier tokens (rows) and activations outlier channels (columns); a square tile confines both, and its
transpose is a tile again. Tiles of a row (per token), of a column (per channel) or of the whole matrix are other
shapes of the same code. Sizes need not be multiples of the tile: the last tiles are smaller.

Scales are float32. In float16 the scale of a tile whose largest magnitude is below 3.8e-6 would be zero, and
gradients are that small; the two bytes more are 0.2% of a 32 x 32 tile.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from model.int8.philox import random_words_like, uniform

LEAST_MAGNITUDE = 2.0**-100
"A tile with no magnitude above it is held as zeros: the reciprocal of its scale would not be finite."


@dataclass(frozen=True)
class Format:
    """How a matrix is held."""

    tile: tuple[int | None, int | None] = (32, 32)
    "Rows and columns that share a scale; None: all of them."
    bits: int = 8
    "Of the integers, one of them the sign: 8, or fewer for comparison (stored in 8 all the same)."
    kernels: Literal["auto", "plain", "triton"] = "plain"
    "What computes with such matrices (`model.int8.arithmetic`)."

    @property
    def largest(self) -> int:
        """The largest integer; the grid is symmetric."""
        return (1 << self.bits - 1) - 1

    def tile_of(self, num_rows: int, num_columns: int) -> tuple[int, int]:
        """Rows and columns of a tile of such a matrix."""
        rows, columns = self.tile
        return rows or max(num_rows, 1), columns or max(num_columns, 1)

    def transpose(self) -> Format:
        """The format of a transposed matrix."""
        return replace(self, tile=self.tile[::-1])


SQUARE = Format()
PER_TOKEN = Format((1, None))
PER_CHANNEL = Format((None, 1))
PER_TENSOR = Format((None, None))


@dataclass(frozen=True)
class Noise:
    """What rounds at random: a stream of uniform numbers, the same whenever it is asked for."""

    seed: int
    "In [0, 2^63)."
    stream: int = 0
    "In [0, 2^31): of several uses of one seed."

    def next_stream(self) -> Noise:
        """For another use of the seed."""
        return replace(self, stream=self.stream + 1)


@dataclass(frozen=True)
class QuantTensor:
    """A matrix [N, C] = q * scale of the tile."""

    q: Tensor
    "int8 [N, C]."
    scale: Tensor
    "float32 [ceil(N / rows of a tile), ceil(C / columns of a tile)]."
    tile: tuple[int, int]
    "Rows and columns that share a scale."

    def dequantise(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """[N, C] in `dtype`; computed in float32."""
        return (self.q * self.scales()).to(dtype)

    def scales(self) -> Tensor:
        """The scale of every element: float32 [N, C]."""
        (rows, columns), (num_rows, num_columns) = self.tile, self.q.shape
        by_row = self.scale.repeat_interleave(rows, 0)[:num_rows]
        return by_row.repeat_interleave(columns, 1)[:, :num_columns]

    def transpose(self) -> QuantTensor:
        """[C, N]: views of the same values."""
        return QuantTensor(self.q.T, self.scale.T, self.tile[::-1])


def quantise(x_NC: Tensor, held: Format = SQUARE, noise: Noise | None = None) -> QuantTensor:
    """The nearest QuantTensor, or an unbiased one; it has no gradient.

    |x - result| is at most half a scale without `noise`, and below one scale with it. A tile with a NaN or an
    infinity gets a scale that is none, so that what is computed from it is not finite either.

    Args:
        x_NC: a matrix of any floating dtype.
        held: tile and bits of the result.
        noise: None: to nearest, halves to even. Else up with the probability of the fraction (stochastic rounding,
            Gupta et al. 2015, section 3.1), so that the mean of the result is x.
    """
    num_rows, num_columns = x_NC.shape
    tile = held.tile_of(num_rows, num_columns)
    x = x_NC.detach().float()
    magnitude = _largest_magnitudes(x, tile)
    # One multiplication by a reciprocal, as in the kernels: division on a GPU is not exact by default.
    inverse = torch.where(magnitude > LEAST_MAGNITUDE, held.largest / magnitude, 0.0)
    steps = x * QuantTensor(x, inverse, tile).scales()
    rounded = steps.round() if noise is None else (steps + _uniform_like(steps, noise)).floor()
    q = rounded.clamp(-held.largest, held.largest).to(torch.int8)
    return QuantTensor(q, magnitude / held.largest, tile)


def _largest_magnitudes(x_NC: Tensor, tile: tuple[int, int]) -> Tensor:
    """Of every tile; the last ones are filled up with zeros, which change no maximum."""
    (rows, columns), (num_rows, num_columns) = tile, x_NC.shape
    whole = pad(x_NC, (0, -num_columns % columns, 0, -num_rows % rows))
    return whole.view(whole.shape[0] // rows, rows, whole.shape[1] // columns, columns).abs().amax((1, 3))


def _uniform_like(x_NC: Tensor, noise: Noise) -> Tensor:
    return uniform(random_words_like(x_NC, noise.seed, noise.stream))
