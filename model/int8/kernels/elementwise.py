"""Steps whose results depend on one place each: one tile a program. Untested on GPU."""

from __future__ import annotations

import triton
import triton.language as tl

from model.int8.kernels.arithmetic import TILE, load_tile, places, store_tile, words

_SQRT_HALF = tl.constexpr(0.5**0.5)
_DENSITY = tl.constexpr((2 * 3.141592653589793) ** -0.5)


@triton.jit
def value(x, GELU: tl.constexpr):
    """The activation: the exact GELU (Hendrycks and Gimpel 2016), or SiLU."""
    return x * 0.5 * (1.0 + tl.erf(x * _SQRT_HALF)) if GELU else x * tl.sigmoid(x)


@triton.jit
def slope(x, GELU: tl.constexpr):
    """Its derivative."""
    if GELU:
        result = 0.5 * (1.0 + tl.erf(x * _SQRT_HALF)) + x * tl.exp(-0.5 * x * x) * _DENSITY
    else:
        gate = tl.sigmoid(x)
        result = gate * (1.0 + x * (1.0 - gate))
    return result


@triton.jit
def activate_kernel(q, scale, y, y_scale, num_rows, num_columns, GELU: tl.constexpr):
    """To y."""
    i, j = tl.program_id(0), tl.program_id(1)
    x = load_tile(q, scale, i, j, num_rows, num_columns)
    store_tile(value(x, GELU), y, y_scale, i, j, num_rows, num_columns, 0, 0, False)


@triton.jit
def activate_backward_kernel(q, scale, g, g_scale, y, y_scale, num_rows, num_columns, seed, stream, GELU: tl.constexpr):
    """The gradient of x, to y."""
    i, j = tl.program_id(0), tl.program_id(1)
    x = load_tile(q, scale, i, j, num_rows, num_columns)
    grad = load_tile(g, g_scale, i, j, num_rows, num_columns)
    store_tile(grad * slope(x, GELU), y, y_scale, i, j, num_rows, num_columns, seed, stream, True)


@triton.jit
def gated_kernel(q, scale, up, up_scale, y, y_scale, num_rows, num_columns, GELU: tl.constexpr):
    """To y."""
    i, j = tl.program_id(0), tl.program_id(1)
    gate = load_tile(q, scale, i, j, num_rows, num_columns)
    factor = load_tile(up, up_scale, i, j, num_rows, num_columns)
    store_tile(value(gate, GELU) * factor, y, y_scale, i, j, num_rows, num_columns, 0, 0, False)


@triton.jit
def gated_backward_kernel(
    q, scale, up, up_scale, g, g_scale, y, y_scale, z, z_scale, num_rows, num_columns, seed, stream, GELU: tl.constexpr
):
    """The gradient of the gate to y, of the other factor to z, whose rounding has the next stream."""
    i, j = tl.program_id(0), tl.program_id(1)
    gate = load_tile(q, scale, i, j, num_rows, num_columns)
    factor = load_tile(up, up_scale, i, j, num_rows, num_columns)
    grad = load_tile(g, g_scale, i, j, num_rows, num_columns)
    store_tile(grad * factor * slope(gate, GELU), y, y_scale, i, j, num_rows, num_columns, seed, stream, True)
    store_tile(grad * value(gate, GELU), z, z_scale, i, j, num_rows, num_columns, seed, stream + 1, True)


@triton.jit
def mask_kernel(q, y, num_rows, num_columns, seed, threshold):
    """Integers where the random word is at least the threshold, an int64 in [0, 2^32); else zero."""
    i, j = tl.program_id(0), tl.program_id(1)
    at, inside = places(i, j, num_rows, num_columns)
    drawn = words(i * TILE, j * TILE, seed, 0, TILE, TILE).to(tl.uint32, bitcast=True).to(tl.int64)
    tl.store(y + at, tl.where(drawn >= threshold, tl.load(q + at, mask=inside, other=0), 0), mask=inside)


@triton.jit
def total_kernel(
    q, scale, b, b_scale, c, c_scale, y, y_scale, num_rows, num_columns, seed, stream, THREE: tl.constexpr
):
    """Of two matrices, or of three."""
    i, j = tl.program_id(0), tl.program_id(1)
    x = load_tile(q, scale, i, j, num_rows, num_columns) + load_tile(b, b_scale, i, j, num_rows, num_columns)
    if THREE:
        x += load_tile(c, c_scale, i, j, num_rows, num_columns)
    store_tile(x, y, y_scale, i, j, num_rows, num_columns, seed, stream, True)


@triton.jit
def add_backward_kernel(x, g, g_scale, total, y, y_scale, num_rows, num_columns, seed, stream):
    """High precision and 8 bits to a sum in both."""
    i, j = tl.program_id(0), tl.program_id(1)
    at, inside = places(i, j, num_rows, num_columns)
    given = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    summed = given + load_tile(g, g_scale, i, j, num_rows, num_columns)
    tl.store(total + at, summed, mask=inside)
    store_tile(summed, y, y_scale, i, j, num_rows, num_columns, seed, stream, True)


@triton.jit
def normalise_kernel(
    q, scale, mean, rstd, weight, bias, y, y_scale, num_rows, num_columns, CENTRED: tl.constexpr, BIASED: tl.constexpr
):
    """Statistics of rows are known."""
    i, j = tl.program_id(0), tl.program_id(1)
    row, column = i * TILE + tl.arange(0, TILE), j * TILE + tl.arange(0, TILE)
    x = load_tile(q, scale, i, j, num_rows, num_columns)
    if CENTRED:
        x -= tl.load(mean + row, mask=row < num_rows, other=0.0)[:, None]
    x *= tl.load(rstd + row, mask=row < num_rows, other=0.0)[:, None]
    x *= tl.load(weight + column, mask=column < num_columns, other=0.0).to(tl.float32)[None, :]
    if BIASED:
        x += tl.load(bias + column, mask=column < num_columns, other=0.0).to(tl.float32)[None, :]
    store_tile(x, y, y_scale, i, j, num_rows, num_columns, 0, 0, False)
