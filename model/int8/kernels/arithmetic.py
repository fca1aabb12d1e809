"""What kernels have in common: 32 x 32 tiles in registers, read and rounded as `model.int8.quant_tensor` does."""

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
def places(tile_row, tile_column, num_rows, num_columns):
    """Where the numbers of a tile are in a matrix that lies row by row, and which of them there are."""
    row = tile_row * TILE + tl.arange(0, TILE)[:, None]
    column = tile_column * TILE + tl.arange(0, TILE)[None, :]
    return row.to(tl.int64) * num_columns + column, (row < num_rows) & (column < num_columns)


@triton.jit
def load_tile(q, scale, tile_row, tile_column, num_rows, num_columns):
    """[32, 32] float32; zeros outside."""
    at, inside = places(tile_row, tile_column, num_rows, num_columns)
    step = tl.load(scale + tile_row * tl.cdiv(num_columns, TILE) + tile_column)
    return tl.load(q + at, mask=inside, other=0).to(tl.float32) * step


@triton.jit
def store_tile(x, q, scale, tile_row, tile_column, num_rows, num_columns, seed, stream, NOISY: tl.constexpr):
    """Round a tile and store it; gives its rounded values. What is outside counts as zero."""
    at, inside = places(tile_row, tile_column, num_rows, num_columns)
    x = tl.where(inside, x, 0.0)
    rounded, step = round_tile(x, tile_row * TILE, tile_column * TILE, seed, stream, NOISY)
    tl.store(q + at, rounded, mask=inside)
    tl.store(scale + tile_row * tl.cdiv(num_columns, TILE) + tile_column, step)
    return rounded.to(tl.float32) * step


@triton.jit
def words(first_row, first_column, seed, stream, M: tl.constexpr, N: tl.constexpr):
    """[M, N] of 32 random bits: of the same places as `random_words`, four columns to a counter."""
    row = first_row + tl.arange(0, M)[:, None] + tl.zeros((1, N // 4), tl.int32)
    column = first_column // 4 + tl.arange(0, N // 4)[None, :] + tl.zeros((M, 1), tl.int32)
    zero = row * 0
    w0, w1, w2, w3 = tl.philox(seed, column, row, zero + stream, zero, _ROUNDS)
    # interleave(interleave(0, 2), interleave(1, 3)) puts words 0, 1, 2, 3 side by side.
    return tl.interleave(tl.interleave(w0, w2), tl.interleave(w1, w3))


@triton.jit
def uniform(bits):
    """(0, 1) from words."""
    return (bits >> 16).to(tl.float32) * 0.0000152587890625 + 0.00000762939453125


@triton.jit
def round_tile(x, first_row, first_column, seed, stream, NOISY: tl.constexpr):
    """[32, 32] float32 -> int8 of the same shape, and the scale."""
    # A maximum passes over NaN; 0 * x is NaN where x is not finite.
    magnitude = tl.max(tl.max(tl.abs(x), 1), 0) + tl.sum(tl.sum(x * 0.0, 1), 0)
    steps = x * inverse_of(magnitude)
    noise = uniform(words(first_row, first_column, seed, stream, TILE, TILE)) if NOISY else x
    return round_steps(steps, noise, NOISY), scale_of(magnitude)


@triton.jit
def inverse_of(magnitude):
    """Of the scale: what a number is multiplied by to be a number of steps."""
    return tl.where(magnitude > _LEAST, tl.math.div_rn(_LARGEST, magnitude), 0.0)


@triton.jit
def scale_of(magnitude):
    """One step."""
    return tl.math.div_rn(magnitude, _LARGEST)


@triton.jit
def round_steps(steps, noise, NOISY: tl.constexpr):
    """Float32 -> int8."""
    # The sum with _MAGIC has no room for fractions: the nearest whole number, halves to even.
    rounded = tl.floor(steps + noise) if NOISY else (steps + _MAGIC) - _MAGIC
    return tl.minimum(tl.maximum(rounded, -_LARGEST), _LARGEST).to(tl.int8)
