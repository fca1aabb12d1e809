"""Dropout (Srivastava et al. 2014) of 8-bit matrices: exact, nothing is rounded, and no mask is kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from model.int8.operators.wire import Wire
from model.int8.philox import random_words


def dropout(x: Wire, probability: float, seed: int) -> Wire:
    """Integers times the mask, scales by 1 / (1 - probability). The mask is a function of the seed, and drawn again."""
    return Wire(*_Dropout.apply(*x, probability, seed))


class _Dropout(Function):
    @staticmethod
    def forward(ctx: Any, payload: Tensor, scale: Tensor, probability: float, seed: int) -> Wire:
        ctx.probability, ctx.seed = probability, seed
        return _masked(Wire(payload, scale), probability, seed)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return *_masked(Wire(*grads), ctx.probability, ctx.seed), None, None


def _masked(x: Wire, probability: float, seed: int) -> Wire:
    words = random_words(seed, 0, x.payload.shape, x.payload.device)
    kept = words >= int(probability * 2**32)
    q = x.payload.view(torch.int8) * kept
    return Wire(q.view(x.payload.dtype), x.scale / (1 - probability))
