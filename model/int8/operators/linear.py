"""Y = X W^T + b on 8-bit operands, and both products of its backward (Xi et al. 2024, section 5).

The weight's gradient is never rounded: it goes to the optimizer. The weight itself is passed twice, in high precision
for its gradient and rounded for the products, so that it is rounded once for all micro-batches of a step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor
from torch.autograd import Function

from model.int8.arithmetic import arithmetic_of
from model.int8.operators.wire import Again, Wire, send
from model.int8.quant_tensor import Format, Noise, QuantTensor


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
        arithmetic = arithmetic_of(held, payload.device)
        return send(arithmetic.matmul_rounded(x, rounded.transpose(), bias_D, None))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, scale, *sources = ctx.saved_tensors
        w = QuantTensor(q, scale, ctx.tile)
        g = Wire(*grads).read(ctx.held)
        _, _, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        arithmetic = arithmetic_of(ctx.held, q.device)
        grad_weight = arithmetic.matmul(g.transpose(), ctx.compute(*sources)) if needs_weight else None
        grad_bias = arithmetic.column_sums(g) if needs_bias else None
        dx = send(arithmetic.matmul_rounded(g, w, None, ctx.noise))
        return *dx, grad_weight, grad_bias, *(None,) * (4 + ctx.num_sources)
