"""What kernels have in common: one 32 x 32 tile in registers, rounded as `model.int8.quant_tensor` does."""

from __future__ import annotations

import triton
import triton.language as tl

from model.int8.philox import NUM_ROUNDS
from model.int8.quant_tensor import LEAST_MAGNITUDE

TILE = tl.constexpr(32)
_ROUNDS = tl.constexpr(NUM_ROUNDS)
_LEAST = tl.constexpr(LEAST_MAGNITUDE)
_LARGEST = tl.constexpr(127.0)
_MAGIC = tl.constexpr(1.5 * 2.0**23)


@triton.jit
def uniform_tile(first_row, first_column, seed, stream):
    """[32, 32] of (0, 1): of the same places as `random_words`, four columns to a counter."""
    row = first_row + tl.arange(0, TILE)[:, None] + tl.zeros((1, TILE // 4), tl.int32)
    column = first_column // 4 + tl.arange(0, TILE // 4)[None, :] + tl.zeros((TILE, 1), tl.int32)
    zero = row * 0
    w0, w1, w2, w3 = tl.philox(seed, column, row, zero + stream, zero, _ROUNDS)
    # interleave(interleave(0, 2), interleave(1, 3)) puts words 0, 1, 2, 3 side by side.
    words = tl.interleave(tl.interleave(w0, w2), tl.interleave(w1, w3))
    return (words >> 16).to(tl.float32) * 0.0000152587890625 + 0.00000762939453125


@triton.jit
def round_tile(x, first_row, first_column, seed, stream, NOISY: tl.constexpr):
    """[32, 32] float32 -> int8 of the same shape, and the scale."""
    magnitude = tl.max(tl.max(tl.abs(x), 1), 0)
    # A maximum passes over NaN; 0 * x is NaN where x is not finite.
    magnitude += tl.sum(tl.sum(x * 0.0, 1), 0)
    inverse = tl.where(magnitude > _LEAST, tl.math.div_rn(_LARGEST, magnitude), 0.0)
    steps = x * inverse
    if NOISY:
        rounded = tl.floor(steps + uniform_tile(first_row, first_column, seed, stream))
    else:
        # The sum has no room for fractions: the nearest whole number, halves to even.
        rounded = (steps + _MAGIC) - _MAGIC
    rounded = tl.minimum(tl.maximum(rounded, -_LARGEST), _LARGEST)
    return rounded.to(tl.int8), tl.math.div_rn(magnitude, _LARGEST)
