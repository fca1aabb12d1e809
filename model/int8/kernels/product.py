"""Integer products of 32 x 32 tiles (Xi et al. 2024, section 5): no operand is ever floating. Untested on GPU.

Each step of 32 along K is an exact product of integers (32 * 127^2 < 2^24, so float32 holds it too), multiplied by the
two scales and added in float32. All three products of a linear layer are this one. Operands that do not lie along K are
copied first, as in the paper: Hopper multiplies integers only from there, and Triton, left to turn tiles itself, gives
up copying them asynchronously (no cp.async at all in G^T X for sm_90).
"""

from __future__ import annotations

import triton
import triton.language as tl

from model.int8.kernels.arithmetic import TILE, inverse_of, round_steps, scale_of, uniform, words

BLOCK_M, BLOCK_N = 128, 128
"Rows and columns of the result for a program."
ROUNDED_M, ROUNDED_N = 64, 128
"The same where the result is rounded, which takes registers."
NUM_WARPS, NUM_STAGES = 8, 3


@triton.jit
def _product(
    a, b, a_scale, b_scale, row, column, num_m, num_n, num_k, num_steps, M: tl.constexpr, N: tl.constexpr
):  # fmt: skip
    """An [M, N] part of A [num_m, num_k] times the transpose of B [num_n, num_k], float32; zeros outside."""
    step = tl.arange(0, TILE)
    a_at = a + row.to(tl.int64)[:, None] * num_k + step[None, :]
    b_at = b + step[:, None] + column.to(tl.int64)[None, :] * num_k
    a_scale_at, b_scale_at = a_scale + (row // TILE) * num_steps, b_scale + (column // TILE) * num_steps
    total = tl.zeros((M, N), tl.float32)
    for k in range(0, num_k, TILE):
        inside = step < num_k - k
        a_part = tl.load(a_at, mask=(row[:, None] < num_m) & inside[None, :], other=0)
        b_part = tl.load(b_at, mask=inside[:, None] & (column[None, :] < num_n), other=0)
        a_factor = tl.load(a_scale_at, mask=row < num_m, other=0.0)
        b_factor = tl.load(b_scale_at, mask=column < num_n, other=0.0)
        whole = tl.dot(a_part, b_part, out_dtype=tl.int32)
        total += whole.to(tl.float32) * (a_factor[:, None] * b_factor[None, :])
        a_at += TILE
        b_at += TILE
        a_scale_at += 1
        b_scale_at += 1
    return total


@triton.jit
def matmul_kernel(a, b, a_scale, b_scale, y, num_m, num_n, num_k, num_steps, M: tl.constexpr, N: tl.constexpr):
    """The result in float32."""
    row, column = tl.program_id(0) * M + tl.arange(0, M), tl.program_id(1) * N + tl.arange(0, N)
    total = _product(a, b, a_scale, b_scale, row, column, num_m, num_n, num_k, num_steps, M, N)
    inside = (row[:, None] < num_m) & (column[None, :] < num_n)
    tl.store(y + row.to(tl.int64)[:, None] * num_n + column[None, :], total, mask=inside)


@triton.jit
def matmul_rounded_kernel(
    a, b, a_scale, b_scale, bias, q, scale, num_m, num_n, num_k, num_steps, seed, stream,
    M: tl.constexpr, N: tl.constexpr, BIASED: tl.constexpr, NOISY: tl.constexpr,
):  # fmt: skip
    """The result and a bias in 8 bits: float32 never leaves the registers."""
    row, column = tl.program_id(0) * M + tl.arange(0, M), tl.program_id(1) * N + tl.arange(0, N)
    total = _product(a, b, a_scale, b_scale, row, column, num_m, num_n, num_k, num_steps, M, N)
    inside = (row[:, None] < num_m) & (column[None, :] < num_n)
    if BIASED:
        total += tl.load(bias + column, mask=column < num_n, other=0.0).to(tl.float32)[None, :]
        total = tl.where(inside, total, 0.0)
    tiles = tl.reshape(total, (M // TILE, TILE, N // TILE, TILE))
    # A maximum passes over NaN; 0 * x is NaN where x is not finite.
    magnitude = tl.max(tl.max(tl.abs(tiles), 3), 1) + tl.sum(tl.sum(tiles * 0.0, 3), 1)
    steps = tl.reshape(tiles * inverse_of(magnitude)[:, None, :, None], (M, N))
    noise = uniform(words(tl.program_id(0) * M, tl.program_id(1) * N, seed, stream, M, N)) if NOISY else steps
    at = row.to(tl.int64)[:, None] * num_n + column[None, :]
    tl.store(q + at, round_steps(steps, noise, NOISY), mask=inside)
    tile_row = tl.program_id(0) * (M // TILE) + tl.arange(0, M // TILE)[:, None]
    tile_column = tl.program_id(1) * (N // TILE) + tl.arange(0, N // TILE)[None, :]
    there = (tile_row * TILE < num_m) & (tile_column * TILE < num_n)
    tl.store(scale + tile_row * tl.cdiv(num_n, TILE) + tile_column, scale_of(magnitude), mask=there)
