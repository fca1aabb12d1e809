"""Dropout (Srivastava et al. 2014) of 8-bit matrices: exact, nothing is rounded, and no mask is kept."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.autograd import Function

from model.int8.arithmetic import arithmetic_of
from model.int8.operators.wire import Wire, send
from model.int8.quant_tensor import Format


def dropout(x: Wire, probability: float, held: Format, seed: int) -> Wire:
    """Integers times the mask, scales by 1 / (1 - probability). The mask is a function of the seed, and drawn again."""
    return Wire(*_Dropout.apply(*x, probability, held, seed))


class _Dropout(Function):
    @staticmethod
    def forward(ctx: Any, payload: Tensor, scale: Tensor, probability: float, held: Format, seed: int) -> Wire:
        ctx.probability, ctx.held, ctx.seed = probability, held, seed
        return _masked(Wire(payload, scale), probability, held, seed)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return *_masked(Wire(*grads), ctx.probability, ctx.held, ctx.seed), None, None, None


def _masked(x: Wire, probability: float, held: Format, seed: int) -> Wire:
    return send(arithmetic_of(held, x.payload.device).mask(x.read(held), probability, seed))
