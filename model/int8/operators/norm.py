"""Layer norm (Ba et al. 2016) and RMS norm (Zhang and Sennrich 2019) of 8-bit matrices.

Mean and variance come with the matrix, from the operator that made it and had its rows at hand (`residual.add`), and
are those of the rounded values: so the norm is exactly the norm of its input, and its gradient exactly that.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from model.int8.arithmetic import Moments, arithmetic_of
from model.int8.operators.wire import Wire, send
from model.int8.quant_tensor import Format, Noise, QuantTensor


def layer_norm(
    x: Wire, of: Moments, weight_C: Tensor, bias_C: Tensor | None, eps: float, held: Format, noise: Noise
) -> Wire:
    """(x - mean) / sqrt(variance + eps) * weight + bias."""
    rstd_N = torch.rsqrt(of.variance + eps)
    return Wire(*_Norm.apply(*x, weight_C, bias_C, of.mean, rstd_N, held, noise))


def rms_norm(x: Wire, of: Moments, weight_C: Tensor, eps: float, held: Format, noise: Noise) -> Wire:
    """X / sqrt(mean of squares + eps) * weight."""
    rstd_N = torch.rsqrt(of.variance + of.mean.square() + eps)
    return Wire(*_Norm.apply(*x, weight_C, None, None, rstd_N, held, noise))


class _Norm(Function):
    @staticmethod
    def forward(
        ctx: Any,
        payload: Tensor,
        scale: Tensor,
        weight_C: Tensor,
        bias_C: Tensor | None,
        mean_N: Tensor | None,
        rstd_N: Tensor,
        held: Format,
        noise: Noise,
    ) -> Wire:
        x = Wire(payload, scale).read(held)
        ctx.save_for_backward(x.q, x.scale, weight_C, mean_N, rstd_N)
        ctx.tile, ctx.held, ctx.noise = x.tile, held, noise
        arithmetic = arithmetic_of(held, payload.device)
        return send(arithmetic.normalise(x, mean_N, rstd_N, weight_C, bias_C))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, scale, weight_C, mean_N, rstd_N = ctx.saved_tensors
        x, g = QuantTensor(q, scale, ctx.tile), Wire(*grads).read(ctx.held)
        arithmetic = arithmetic_of(ctx.held, q.device)
        dx, grad_weight, grad_bias = arithmetic.normalise_backward(x, mean_N, rstd_N, weight_C, g, ctx.noise)
        return *send(dx), grad_weight, grad_bias if ctx.needs_input_grad[3] else None, None, None, None, None
