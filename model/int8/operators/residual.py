"""The addition of a branch to the stream, which stays in high precision (Xi et al. 2024, section 6)."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.autograd import Function

from model.int8.arithmetic import Moments, arithmetic_of
from model.int8.operators.wire import Wire, send
from model.int8.quant_tensor import Format, Noise


def add(stream_NC: Tensor, branch: Wire, held: Format, noise: Noise) -> tuple[Tensor, Wire, Moments]:
    """The stream after a branch: itself, in 8 bits for the next norm, and the statistics of that.

    Backward adds the gradients of both forms; the sum goes to the stream as it is, and rounded to the branch. (Where no
    norm follows in the block, the addition is `stream + boundary.dequantise(branch)`.)
    """
    stream_NC, payload, scale, mean_N, variance_N = _Add.apply(stream_NC, *branch, held, noise)
    return stream_NC, Wire(payload, scale), Moments(mean_N, variance_N)


class _Add(Function):
    @staticmethod
    def forward(
        ctx: Any, stream_NC: Tensor, payload: Tensor, scale: Tensor, held: Format, noise: Noise
    ) -> tuple[Tensor, ...]:
        ctx.held, ctx.noise = held, noise
        arithmetic = arithmetic_of(held, payload.device)
        sum_NC, rounded, statistics = arithmetic.add(stream_NC, Wire(payload, scale).read(held))
        ctx.mark_non_differentiable(*statistics)
        return sum_NC, *send(rounded), *statistics

    @staticmethod
    def backward(ctx: Any, grad_NC: Tensor, *grads: Tensor) -> tuple[Tensor | None, ...]:
        payload, scale, *_ = grads
        arithmetic = arithmetic_of(ctx.held, payload.device)
        total_NC, to_branch = arithmetic.add_backward(grad_NC, Wire(payload, scale).read(ctx.held), ctx.noise)
        return total_NC, *send(to_branch), None, None
