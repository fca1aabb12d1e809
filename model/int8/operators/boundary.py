"""From and to high precision, and one matrix for several operators."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from model.int8.arithmetic import Moments, arithmetic_of
from model.int8.operators.wire import Wire, send
from model.int8.quant_tensor import Format, Noise


def quantise(x_NC: Tensor, held: Format) -> Wire:
    """To nearest; backward gives the gradient in the dtype of x."""
    return Wire(*_Quantise.apply(x_NC, held))


def moments(x: Wire, held: Format) -> Moments:
    """Of the rows of a matrix that goes to a norm; they have no gradient of their own."""
    return arithmetic_of(held, x.payload.device).moments(x.read(held))


def dequantise(x: Wire, held: Format, noise: Noise, dtype: torch.dtype = torch.float32) -> Tensor:
    """[N, C] in `dtype`; backward rounds the gradient."""
    return _Dequantise.apply(*x, held, noise, dtype)  # type: ignore[no-any-return]


def fork(x: Wire, held: Format, noise: Noise, num_ways: int) -> tuple[Wire, ...]:
    """The same matrix for several operators; backward adds their gradients in float32 and rounds the sum once."""
    flat = _Fork.apply(*x, held, noise, num_ways)
    return tuple(Wire(*flat[2 * way : 2 * way + 2]) for way in range(num_ways))


class _Quantise(Function):
    @staticmethod
    def forward(ctx: Any, x_NC: Tensor, held: Format) -> Wire:
        ctx.held, ctx.dtype = held, x_NC.dtype
        return send(arithmetic_of(held, x_NC.device).quantise(x_NC))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        arithmetic = arithmetic_of(ctx.held, grads[0].device)
        return arithmetic.dequantise(Wire(*grads).read(ctx.held), ctx.dtype), None


class _Dequantise(Function):
    @staticmethod
    def forward(ctx: Any, payload: Tensor, scale: Tensor, held: Format, noise: Noise, dtype: torch.dtype) -> Tensor:
        ctx.held, ctx.noise = held, noise
        return arithmetic_of(held, payload.device).dequantise(Wire(payload, scale).read(held), dtype)

    @staticmethod
    def backward(ctx: Any, grad_NC: Tensor) -> tuple[Tensor | None, ...]:
        arithmetic = arithmetic_of(ctx.held, grad_NC.device)
        return *send(arithmetic.quantise(grad_NC, ctx.noise)), None, None, None


class _Fork(Function):
    @staticmethod
    def forward(
        ctx: Any, payload: Tensor, scale: Tensor, held: Format, noise: Noise, num_ways: int
    ) -> tuple[Tensor, ...]:
        ctx.held, ctx.noise = held, noise
        return tuple(tensor.detach() for _ in range(num_ways) for tensor in (payload, scale))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        pairs = zip(grads[::2], grads[1::2], strict=True)
        parts = [Wire(*pair).read(ctx.held) for pair in pairs]
        total = arithmetic_of(ctx.held, grads[0].device).total(parts, ctx.noise)
        return *send(total), None, None, None
