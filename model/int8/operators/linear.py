"""Y = X W^T + b on 8-bit operands, and both products of its backward (Xi et al. 2024, section 5).

The weight's gradient is never rounded: it goes to the optimizer. The weight itself is passed twice, in high precision
for its gradient and rounded for the products, so that it is rounded once for all micro-batches of a step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.utils.flop_counter import register_flop_formula

from model.int8.operators.wire import Again, Wire, send
from model.int8.quant_tensor import Format, Noise, QuantTensor, quantise


def linear(
    x: Wire,
    weight_DC: Tensor,
    rounded: QuantTensor,
    bias_D: Tensor | None,
    held: Format,
    noise: Noise,
    again: Again | None = None,
) -> Wire:
    """[N, C] -> [N, D].

    Args:
        x: [N, C].
        weight_DC: what the gradient goes to, in any dtype; its values are not read.
        rounded: its values, as `quantise(weight_DC)`.
        bias_D: added in float32, or None.
        held: the format of x, of the result and of their gradients.
        noise: rounds the gradient of x.
        again: gives x a second time; else it is kept.
    """
    compute, sources = again or (None, ())
    return Wire(*_Linear.apply(*x, weight_DC, bias_D, rounded, held, noise, compute, *sources))


def matmul(a_MK: QuantTensor, b_KN: QuantTensor) -> Tensor:
    """The product, float32 [M, N]. Of tiles it is sum_k scale_a scale_b (q_a q_b), exact but for float32 sums.

    An operator of its own for whoever watches operators: counters of FLOPs know it as a product of 8-bit matrices.
    """
    product: Tensor = _int8_matmul(a_MK.q, a_MK.scale, list(a_MK.tile), b_KN.q, b_KN.scale, list(b_KN.tile))
    return product


@torch.library.custom_op("polytrain::int8_matmul", mutates_args=())
def _int8_matmul(
    a_MK: Tensor, a_scale: Tensor, a_tile: list[int], b_KN: Tensor, b_scale: Tensor, b_tile: list[int]
) -> Tensor:
    a, b = QuantTensor(a_MK, a_scale, (a_tile[0], a_tile[1])), QuantTensor(b_KN, b_scale, (b_tile[0], b_tile[1]))
    with torch.autocast(a_MK.device.type, enabled=False):
        return a.dequantise() @ b.dequantise()


@_int8_matmul.register_fake
def _(a_MK: Tensor, _a_scale: Tensor, _a_tile: list[int], b_KN: Tensor, _b_scale: Tensor, _b_tile: list[int]) -> Tensor:
    return a_MK.new_empty(a_MK.shape[0], b_KN.shape[1], dtype=torch.float32)


@register_flop_formula(torch.ops.polytrain.int8_matmul)
def _operations(
    a_MK: torch.Size, _a_scale: object, _a_tile: object, b_KN: torch.Size, *_: object, **_more: object
) -> int:
    """A multiply-add is 2, as of floating-point products."""
    return 2 * a_MK[0] * a_MK[1] * b_KN[1]


class _Linear(Function):
    @staticmethod
    def forward(
        ctx: Any,
        payload: Tensor,
        scale: Tensor,
        _weight_DC: Tensor,
        bias_D: Tensor | None,
        rounded: QuantTensor,
        held: Format,
        noise: Noise,
        compute: Callable[..., QuantTensor] | None,
        *sources: Tensor,
    ) -> Wire:
        x = Wire(payload, scale).read(held)
        ctx.save_for_backward(rounded.q, rounded.scale, *(sources if compute else (x.q, x.scale)))
        ctx.compute = compute or partial(QuantTensor, tile=x.tile)
        ctx.tile, ctx.held, ctx.noise, ctx.num_sources = rounded.tile, held, noise, len(sources)
        y_ND = matmul(x, rounded.transpose())
        return send(quantise(y_ND if bias_D is None else y_ND + bias_D, held))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, scale, *sources = ctx.saved_tensors
        w = QuantTensor(q, scale, ctx.tile)
        g = Wire(*grads).read(ctx.held)
        _, _, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        grad_weight = matmul(g.transpose(), ctx.compute(*sources)) if needs_weight else None
        grad_bias = g.dequantise().sum(0) if needs_bias else None
        dx = send(quantise(matmul(g, w), ctx.held, ctx.noise))
        return *dx, grad_weight, grad_bias, *(None,) * (4 + ctx.num_sources)
