"""Layer norm (Ba et al. 2016) and RMS norm (Zhang and Sennrich 2019) of 8-bit matrices.

Mean and variance come with the matrix, from the operator that made it and had its rows at hand (`residual.add`), and
are those of the rounded values: so the norm is exactly the norm of its input, and its gradient exactly that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from model.int8.operators.wire import Wire, send
from model.int8.quant_tensor import Format, Noise, QuantTensor, quantise


class Moments(NamedTuple):
    """Of every row. The variance is of differences from the mean: a difference of squares would cancel."""

    mean: Tensor
    "float32 [N]."
    variance: Tensor
    "float32 [N]."


def moments(x: QuantTensor) -> Moments:
    """Of the rounded values."""
    variance_N, mean_N = torch.var_mean(x.dequantise(), dim=1, correction=0)
    return Moments(mean_N, variance_N)


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
        y_NC = _normalised(x, mean_N, rstd_N) * weight_C.float()
        return send(quantise(y_NC if bias_C is None else y_NC + bias_C.float(), held))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, scale, weight_C, mean_N, rstd_N = ctx.saved_tensors
        normed_NC = _normalised(QuantTensor(q, scale, ctx.tile), mean_N, rstd_N)
        g_NC = Wire(*grads).read(ctx.held).dequantise()
        pulled_NC = g_NC * weight_C.float()
        dx_NC = pulled_NC - normed_NC * (pulled_NC * normed_NC).mean(1, keepdim=True)
        if mean_N is not None:
            dx_NC = dx_NC - pulled_NC.mean(1, keepdim=True)
        dx = send(quantise(dx_NC * rstd_N[:, None], ctx.held, ctx.noise))
        grad_bias = g_NC.sum(0) if ctx.needs_input_grad[3] else None
        return *dx, (g_NC * normed_NC).sum(0), grad_bias, None, None, None, None


def _normalised(x: QuantTensor, mean_N: Tensor | None, rstd_N: Tensor) -> Tensor:
    x_NC = x.dequantise()
    return (x_NC if mean_N is None else x_NC - mean_N[:, None]) * rstd_N[:, None]
