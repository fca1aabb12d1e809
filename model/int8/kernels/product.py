"""Integer products of 32 x 32 tiles (Xi et al. 2024, section 5): no operand is ever floating. Untested on GPU.

Each step of 32 along K is an exact product of integers (32 * 127^2 < 2^24, so float32 holds it too), multiplied by the
two scales and added in float32. All three products of a linear layer are this one. Operands that do not lie along K are
copied first, as in the paper: Hopper multiplies integers only from there, and Triton, left to turn tiles itself, gives
up copying them asynchronously (no cp.async at all in G^T X for sm_90).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from model.int8.kernels.arithmetic import TILE
from model.int8.quant_tensor import QuantTensor

BLOCK_M, BLOCK_N = 128, 128
"Rows and columns of the result for a program."
NUM_WARPS, NUM_STAGES = 8, 3


def matmul(a_MK: QuantTensor, b_KN: QuantTensor) -> Tensor:
    """`model.int8.operators.linear.matmul` of 32 x 32 tiles: float32 [M, N]."""
    (num_m, num_k), num_n = a_MK.q.shape, b_KN.q.shape[1]
    y_MN = torch.empty(num_m, num_n, dtype=torch.float32, device=a_MK.q.device)
    a, b = _along_rows(a_MK), _along_rows(b_KN.transpose())
    grid = triton.cdiv(num_m, BLOCK_M), triton.cdiv(num_n, BLOCK_N)
    matmul_kernel[grid](
        a.q, b.q, a.scale, b.scale, y_MN, num_m, num_n, num_k, a.scale.shape[1], BLOCK_M, BLOCK_N,
        num_warps=NUM_WARPS, num_stages=NUM_STAGES,
    )  # fmt: skip
    return y_MN


def _along_rows(x: QuantTensor) -> QuantTensor:
    return QuantTensor(x.q.contiguous(), x.scale.contiguous(), x.tile)


@triton.jit
def matmul_kernel(a, b, a_scale, b_scale, y, num_m, num_n, num_k, num_steps, M: tl.constexpr, N: tl.constexpr):
    """An [M, N] part of the result a program: of A [num_m, num_k] and the transpose of B [num_n, num_k]."""
    row = tl.program_id(0) * M + tl.arange(0, M)
    column = tl.program_id(1) * N + tl.arange(0, N)
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
    inside = (row[:, None] < num_m) & (column[None, :] < num_n)
    tl.store(y + row.to(tl.int64)[:, None] * num_n + column[None, :], total, mask=inside)
