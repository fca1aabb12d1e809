"""The steps of `model.int8.arithmetic`, by one kernel each: the definitions but for float32 sums. Untested on GPU."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
import triton
from torch import Tensor

from configs.errors import ConfigError
from model.int8.arithmetic import Arithmetic, Curve, Moments
from model.int8.kernels import arithmetic, elementwise, product, quantise, rows
from model.int8.quant_tensor import Noise, QuantTensor

TILE: int = arithmetic.TILE.value
_NEAREST = Noise(0)
"Where a kernel wants a seed that it does not use."


def kernels_on(device: torch.device) -> Arithmetic:
    """The kernels, where they can run.

    Raises:
        ConfigError: when the device is none of theirs.
    """
    # Triton's interpreter computes on the CPU: for tests.
    if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise ConfigError(
            f"int8.kernels=triton: kernels run on CUDA devices, this is {device.type}; take plain or auto."
        )
    return _Kernels()


class _Kernels(Arithmetic):
    def quantise(self, x_NC: Tensor, noise: Noise | None = None) -> QuantTensor:
        y, drawn = _like(x_NC), noise or _NEAREST
        quantise.quantise_kernel[_grid(y)](
            x_NC, y.q, y.scale, *x_NC.shape, *x_NC.stride(), drawn.seed, drawn.stream, noise is not None
        )
        return y

    def dequantise(self, x: QuantTensor, dtype: torch.dtype) -> Tensor:
        y_NC = torch.empty(x.q.shape, dtype=dtype, device=x.q.device)
        quantise.dequantise_kernel[_grid(x)](x.q, x.scale, y_NC, *x.q.shape, *x.q.stride(), *x.scale.stride())
        return y_NC

    def moments(self, x: QuantTensor) -> Moments:
        x, found = _along_rows(x), _moments_like(x.q)
        rows.moments_kernel[_rows(x)](x.q, x.scale, *found, *x.q.shape)
        return found

    def total(self, parts: Sequence[QuantTensor], noise: Noise) -> QuantTensor:
        if len(parts) not in (2, 3):
            raise ValueError(f"{len(parts)} matrices: the kernel adds two or three")
        first, second, last = parts[0], parts[1], parts[-1]
        y = _like(first.q)
        elementwise.total_kernel[_grid(y)](
            *_parts(first, second, last, y), *y.q.shape, noise.seed, noise.stream, len(parts) == 3
        )
        return y

    def column_sums(self, x: QuantTensor) -> Tensor:
        x = _along_rows(x)
        parts = _sums_like(x)
        rows.column_sums_kernel[_grid(x)](x.q, x.scale, parts, *x.q.shape)
        return parts.sum(0)

    def matmul(self, a_MK: QuantTensor, b_KN: QuantTensor) -> Tensor:
        (num_m, num_k), num_n = a_MK.q.shape, b_KN.q.shape[1]
        y_MN = torch.empty(num_m, num_n, dtype=torch.float32, device=a_MK.q.device)
        a, b = _along_rows(a_MK), _along_rows(b_KN.transpose())
        grid = triton.cdiv(num_m, product.BLOCK_M), triton.cdiv(num_n, product.BLOCK_N)
        product.matmul_kernel[grid](
            a.q, b.q, a.scale, b.scale, y_MN, num_m, num_n, num_k, a.scale.shape[1], product.BLOCK_M, product.BLOCK_N,
            num_warps=product.NUM_WARPS, num_stages=product.NUM_STAGES,
        )  # fmt: skip
        return y_MN

    def matmul_rounded(
        self, a_MK: QuantTensor, b_KN: QuantTensor, bias_N: Tensor | None, noise: Noise | None
    ) -> QuantTensor:
        (num_m, num_k), num_n = a_MK.q.shape, b_KN.q.shape[1]
        y = _empty(num_m, num_n, a_MK.q.device)
        a, b, drawn = _along_rows(a_MK), _along_rows(b_KN.transpose()), noise or _NEAREST
        grid = triton.cdiv(num_m, product.ROUNDED_M), triton.cdiv(num_n, product.ROUNDED_N)
        product.matmul_rounded_kernel[grid](
            a.q, b.q, a.scale, b.scale, a.scale if bias_N is None else bias_N, y.q, y.scale,
            num_m, num_n, num_k, a.scale.shape[1], drawn.seed, drawn.stream,
            product.ROUNDED_M, product.ROUNDED_N, bias_N is not None, noise is not None,
            num_warps=product.NUM_WARPS, num_stages=product.NUM_STAGES,
        )  # fmt: skip
        return y

    def normalise(
        self,
        x: QuantTensor,
        mean_N: Tensor | None,
        rstd_N: Tensor,
        weight_C: Tensor,
        bias_C: Tensor | None,
    ) -> QuantTensor:
        x, y = _along_rows(x), _like(x.q)
        elementwise.normalise_kernel[_grid(x)](
            x.q, x.scale, rstd_N if mean_N is None else mean_N, rstd_N, weight_C,
            weight_C if bias_C is None else bias_C, y.q, y.scale, *x.q.shape, mean_N is not None, bias_C is not None,
        )  # fmt: skip
        return y

    def normalise_backward(
        self,
        x: QuantTensor,
        mean_N: Tensor | None,
        rstd_N: Tensor,
        weight_C: Tensor,
        g: QuantTensor,
        noise: Noise,
    ) -> tuple[QuantTensor, Tensor, Tensor]:
        x, g, y = _along_rows(x), _along_rows(g), _like(x.q)
        of_weight, of_bias = _sums_like(x), _sums_like(x)
        rows.normalise_backward_kernel[_rows(x)](
            x.q, x.scale, rstd_N if mean_N is None else mean_N, rstd_N, weight_C, g.q, g.scale, y.q, y.scale,
            of_weight, of_bias, *x.q.shape, noise.seed, noise.stream, mean_N is not None,
        )  # fmt: skip
        return y, of_weight.sum(0), of_bias.sum(0)

    def activate(self, curve: Curve, x: QuantTensor) -> QuantTensor:
        y = _like(x.q)
        elementwise.activate_kernel[_grid(x)](*_parts(x, y), *x.q.shape, curve == "gelu")
        return y

    def activate_backward(self, curve: Curve, x: QuantTensor, g: QuantTensor, noise: Noise) -> QuantTensor:
        y = _like(x.q)
        elementwise.activate_backward_kernel[_grid(x)](
            *_parts(x, g, y), *x.q.shape, noise.seed, noise.stream, curve == "gelu"
        )
        return y

    def activate_gated(self, curve: Curve, gate: QuantTensor, up: QuantTensor) -> QuantTensor:
        y = _like(gate.q)
        elementwise.gated_kernel[_grid(gate)](*_parts(gate, up, y), *gate.q.shape, curve == "gelu")
        return y

    def activate_gated_backward(
        self, curve: Curve, gate: QuantTensor, up: QuantTensor, g: QuantTensor, noise: Noise
    ) -> tuple[QuantTensor, QuantTensor]:
        y, z = _like(gate.q), _like(gate.q)
        elementwise.gated_backward_kernel[_grid(gate)](
            *_parts(gate, up, g, y, z), *gate.q.shape, noise.seed, noise.stream, curve == "gelu"
        )
        return y, z

    def mask(self, x: QuantTensor, probability: float, seed: int) -> QuantTensor:
        x, q = _along_rows(x), torch.empty(x.q.shape, dtype=torch.int8, device=x.q.device)
        elementwise.mask_kernel[_grid(x)](x.q, q, *x.q.shape, seed, int(probability * 2**32))
        return QuantTensor(q, x.scale / (1 - probability), x.tile)

    def add(self, stream_NC: Tensor, branch: QuantTensor) -> tuple[Tensor, QuantTensor, Moments]:
        stream_NC, branch = stream_NC.contiguous(), _along_rows(branch)
        sum_NC, y, found = torch.empty_like(stream_NC), _like(branch.q), _moments_like(branch.q)
        rows.add_kernel[_rows(y)](stream_NC, branch.q, branch.scale, sum_NC, y.q, y.scale, *found, *y.q.shape)
        return sum_NC, y, found

    def add_backward(self, grad_NC: Tensor, g: QuantTensor, noise: Noise) -> tuple[Tensor, QuantTensor]:
        grad_NC, g = grad_NC.contiguous(), _along_rows(g)
        total_NC, y = torch.empty_like(grad_NC), _like(g.q)
        elementwise.add_backward_kernel[_grid(y)](
            grad_NC, g.q, g.scale, total_NC, y.q, y.scale, *y.q.shape, noise.seed, noise.stream
        )
        return total_NC, y


def _empty(num_rows: int, num_columns: int, device: torch.device) -> QuantTensor:
    tiles = triton.cdiv(num_rows, TILE), triton.cdiv(num_columns, TILE)
    q = torch.empty(num_rows, num_columns, dtype=torch.int8, device=device)
    return QuantTensor(q, torch.empty(tiles, dtype=torch.float32, device=device), (TILE, TILE))


def _like(x_NC: Tensor) -> QuantTensor:
    num_rows, num_columns = x_NC.shape
    return _empty(num_rows, num_columns, x_NC.device)


def _moments_like(x_NC: Tensor) -> Moments:
    return Moments(*torch.empty(2, len(x_NC), dtype=torch.float32, device=x_NC.device))


def _sums_like(x: QuantTensor) -> Tensor:
    """Of every row of tiles, for every column."""
    return torch.empty(x.scale.shape[0], x.q.shape[1], dtype=torch.float32, device=x.q.device)


def _grid(x: QuantTensor) -> tuple[int, ...]:
    """A program for every tile."""
    return tuple(x.scale.shape)


def _rows(x: QuantTensor) -> tuple[int]:
    """A program for every row of tiles."""
    return (x.scale.shape[0],)


def _parts(*matrices: QuantTensor) -> list[Tensor]:
    return [part for matrix in map(_along_rows, matrices) for part in (matrix.q, matrix.scale)]


def _along_rows(x: QuantTensor) -> QuantTensor:
    """As kernels read them; others, such as transposed ones, are copied."""
    return QuantTensor(x.q.contiguous(), x.scale.contiguous(), x.tile)
