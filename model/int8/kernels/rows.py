"""Steps that need whole rows, or whole columns: 32 rows a program, tile after tile. Untested on GPU."""

from __future__ import annotations

import triton
import triton.language as tl

from model.int8.kernels.arithmetic import TILE, load_tile, places, store_tile


@triton.jit
def moments_kernel(q, scale, mean, variance, num_rows, num_columns):
    """Two passes: a difference of squares would cancel."""
    i = tl.program_id(0)
    total = tl.zeros((TILE,), tl.float32)
    for j in range(tl.cdiv(num_columns, TILE)):
        total += tl.sum(load_tile(q, scale, i, j, num_rows, num_columns), 1)
    _store_moments(q, scale, total / num_columns, mean, variance, i, num_rows, num_columns)


@triton.jit
def _store_moments(q, scale, mean_of_row, mean, variance, i, num_rows, num_columns):
    squares = tl.zeros((TILE,), tl.float32)
    for j in range(tl.cdiv(num_columns, TILE)):
        _, inside = places(i, j, num_rows, num_columns)
        apart = load_tile(q, scale, i, j, num_rows, num_columns) - mean_of_row[:, None]
        squares += tl.sum(tl.where(inside, apart * apart, 0.0), 1)
    row = i * TILE + tl.arange(0, TILE)
    tl.store(mean + row, mean_of_row, mask=row < num_rows)
    tl.store(variance + row, squares / num_columns, mask=row < num_rows)


@triton.jit
def add_kernel(x, q, scale, total, y, y_scale, mean, variance, num_rows, num_columns):
    """The stream and a branch: their sum in the precision of the stream, in 8 bits, and the moments of the latter."""
    i = tl.program_id(0)
    of_rows = tl.zeros((TILE,), tl.float32)
    for j in range(tl.cdiv(num_columns, TILE)):
        at, inside = places(i, j, num_rows, num_columns)
        stream = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
        summed = (stream + load_tile(q, scale, i, j, num_rows, num_columns)).to(total.dtype.element_ty)
        tl.store(total + at, summed, mask=inside)
        rounded = store_tile(summed.to(tl.float32), y, y_scale, i, j, num_rows, num_columns, 0, 0, False)
        of_rows += tl.sum(rounded, 1)
    # What other threads of the program have stored is read again.
    tl.debug_barrier()
    _store_moments(y, y_scale, of_rows / num_columns, mean, variance, i, num_rows, num_columns)


@triton.jit
def _normalised(q, scale, mean_of_row, rstd_of_row, i, j, num_rows, num_columns, CENTRED: tl.constexpr):
    x = load_tile(q, scale, i, j, num_rows, num_columns)
    if CENTRED:
        x -= mean_of_row[:, None]
    return x * rstd_of_row[:, None]


@triton.jit
def normalise_backward_kernel(
    q, scale, mean, rstd, weight, g, g_scale, y, y_scale, part, b_part, num_rows, num_columns, seed, stream,
    CENTRED: tl.constexpr,
):  # fmt: skip
    """The gradient of x in 8 bits; those of weight and bias as sums over 32 rows: [tiles, C] each."""
    i = tl.program_id(0)
    row = i * TILE + tl.arange(0, TILE)
    there = row < num_rows
    rstd_of_row = tl.load(rstd + row, mask=there, other=0.0)
    mean_of_row = tl.load(mean + row, mask=there, other=0.0) if CENTRED else rstd_of_row
    along, total = tl.zeros((TILE,), tl.float32), tl.zeros((TILE,), tl.float32)
    for j in range(tl.cdiv(num_columns, TILE)):
        column = j * TILE + tl.arange(0, TILE)
        gain = tl.load(weight + column, mask=column < num_columns, other=0.0).to(tl.float32)
        normed = _normalised(q, scale, mean_of_row, rstd_of_row, i, j, num_rows, num_columns, CENTRED)
        grad = load_tile(g, g_scale, i, j, num_rows, num_columns)
        pulled = grad * gain[None, :]
        along += tl.sum(pulled * normed, 1)
        total += tl.sum(pulled, 1)
        at = i.to(tl.int64) * num_columns + column
        tl.store(part + at, tl.sum(grad * normed, 0), mask=column < num_columns)
        tl.store(b_part + at, tl.sum(grad, 0), mask=column < num_columns)
    along, total = along / num_columns, total / num_columns
    for j in range(tl.cdiv(num_columns, TILE)):
        column = j * TILE + tl.arange(0, TILE)
        gain = tl.load(weight + column, mask=column < num_columns, other=0.0).to(tl.float32)
        normed = _normalised(q, scale, mean_of_row, rstd_of_row, i, j, num_rows, num_columns, CENTRED)
        dx = load_tile(g, g_scale, i, j, num_rows, num_columns) * gain[None, :] - normed * along[:, None]
        if CENTRED:
            dx -= total[:, None]
        store_tile(dx * rstd_of_row[:, None], y, y_scale, i, j, num_rows, num_columns, seed, stream, True)


@triton.jit
def column_sums_kernel(q, scale, part, num_rows, num_columns):
    """Over 32 rows: [tiles, C]."""
    i, j = tl.program_id(0), tl.program_id(1)
    column = j * TILE + tl.arange(0, TILE)
    summed = tl.sum(load_tile(q, scale, i, j, num_rows, num_columns), 0)
    tl.store(part + i.to(tl.int64) * num_columns + column, summed, mask=column < num_columns)
