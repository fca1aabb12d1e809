"""High precision -> 8 bits, and back. Equal to the definitions bit for bit; untested on GPU."""

from __future__ import annotations

import triton
import triton.language as tl

from model.int8.kernels.arithmetic import TILE, round_tile


@triton.jit
def quantise_kernel(x, q, scale, num_rows, num_columns, x_row, x_column, seed, stream, NOISY: tl.constexpr):
    """One tile a program."""
    first_row, first_column = tl.program_id(0) * TILE, tl.program_id(1) * TILE
    row = first_row + tl.arange(0, TILE)[:, None]
    column = first_column + tl.arange(0, TILE)[None, :]
    inside = (row < num_rows) & (column < num_columns)
    values = tl.load(x + row.to(tl.int64) * x_row + column.to(tl.int64) * x_column, mask=inside, other=0.0)
    rounded, step = round_tile(values.to(tl.float32), first_row, first_column, seed, stream, NOISY)
    tl.store(q + row.to(tl.int64) * num_columns + column, rounded, mask=inside)
    tl.store(scale + tl.program_id(0) * tl.num_programs(1) + tl.program_id(1), step)


@triton.jit
def dequantise_kernel(q, scale, y, num_rows, num_columns, q_row, q_column, scale_row, scale_column):
    """One tile a program."""
    row = tl.program_id(0) * TILE + tl.arange(0, TILE)[:, None]
    column = tl.program_id(1) * TILE + tl.arange(0, TILE)[None, :]
    inside = (row < num_rows) & (column < num_columns)
    values = tl.load(q + row.to(tl.int64) * q_row + column.to(tl.int64) * q_column, mask=inside, other=0)
    step = tl.load(scale + tl.program_id(0) * scale_row + tl.program_id(1) * scale_column)
    tl.store(y + row.to(tl.int64) * num_columns + column, values.to(tl.float32) * step, mask=inside)
