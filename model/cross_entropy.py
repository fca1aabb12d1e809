"""Cross-entropy of a linear output layer, without ever holding all logits.

At a vocabulary of 50,000 the logits of a few thousand tokens, their softmax and its gradient are the largest tensors of
a training step. Here some tokens' logits exist at a time, and their gradients are taken at once (Wijmans et al. 2024,
section 4, without its sparsity): what is kept for backward is the gradient of the hidden states and of the matrix.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

IGNORED = -100
"A target that is none."
_LOGITS_AT_A_TIME = 1 << 24


def output_layer(x: Tensor, weight_VD: Tensor, bias_V: Tensor | None, targets: Tensor | None) -> Tensor:
    """Logits [..., V] of hidden states [..., D]; with targets [...], the sum of their losses instead."""
    if targets is None:
        return linear(x, weight_VD, bias_V)
    return linear_cross_entropy(x.flatten(0, -2), weight_VD, targets.flatten(), bias_V)


def linear_cross_entropy(
    x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, bias_V: Tensor | None = None, *, chunk: int | None = None
) -> Tensor:
    """The sum of the targets' negative log-probabilities (nats), a float32 or float64 scalar.

    Args:
        x_ND: hidden states.
        weight_VD: the output matrix.
        targets_N: int64; `IGNORED` counts nothing.
        bias_V: of the output layer.
        chunk: rows whose logits exist at a time. Default: as many as make 16 Mi logits.
    """
    rows = chunk or max(1, _LOGITS_AT_A_TIME // len(weight_VD))
    wants_gradient = torch.is_grad_enabled() and any(
        item is not None and item.requires_grad for item in (x_ND, weight_VD, bias_V)
    )
    return _LinearCrossEntropy.apply(x_ND, weight_VD, bias_V, targets_N, rows, wants_gradient)  # type: ignore[no-any-return]


class _LinearCrossEntropy(torch.autograd.Function):
    """Gradients are computed beside the loss, while a chunk's logits exist; backward only scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        x_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        rows: int,
        wants_gradient: bool,
    ) -> Tensor:
        exact = torch.promote_types(x_ND.dtype, torch.float32)
        loss = x_ND.new_zeros((), dtype=exact)
        d_x = torch.empty_like(x_ND) if wants_gradient and ctx.needs_input_grad[0] else None
        d_weight = torch.zeros_like(weight_VD, dtype=exact) if wants_gradient and ctx.needs_input_grad[1] else None
        d_bias = torch.zeros_like(bias_V, dtype=exact) if bias_V is not None and ctx.needs_input_grad[2] else None
        for first in range(0, len(x_ND), rows):
            part = slice(first, first + rows)
            x_CD, targets_C = x_ND[part], targets_N[part]
            logits_CV = linear(x_CD, weight_VD, bias_V).to(exact)
            counts_C = targets_C != IGNORED
            target_C1 = targets_C.clamp(min=0)[:, None]
            # In their place: torch's logsumexp takes several times as long as these few passes.
            largest_C1 = logits_CV.amax(-1, keepdim=True)
            chosen_C1 = logits_CV.gather(1, target_C1) - largest_C1
            exponentials_CV = logits_CV.sub_(largest_C1).exp_()
            total_C1 = exponentials_CV.sum(-1, keepdim=True)
            loss += (total_C1.log() - chosen_C1).squeeze(1).masked_fill(~counts_C, 0.0).sum()
            if not wants_gradient:
                continue
            # The gradient of the logits: softmax minus one-hot; nothing where nothing counts.
            d_logits_CV = exponentials_CV.mul_(counts_C[:, None] / total_C1)
            d_logits_CV.scatter_add_(1, target_C1, -counts_C[:, None].to(exact))
            if d_bias is not None:
                d_bias += d_logits_CV.sum(0)
            d_logits_CV = d_logits_CV.to(x_ND.dtype)
            if d_x is not None:
                torch.mm(d_logits_CV, weight_VD, out=d_x[part])
            if d_weight is not None and exact == x_ND.dtype:
                d_weight.addmm_(d_logits_CV.t(), x_CD)
            elif d_weight is not None:
                d_weight += d_logits_CV.t() @ x_CD
        ctx.dtypes = (weight_VD.dtype, None if bias_V is None else bias_V.dtype)
        ctx.save_for_backward(d_x, d_weight, d_bias)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_loss: Tensor) -> tuple[Tensor | None, ...]:
        d_x, d_weight, d_bias = ctx.saved_tensors
        weight_dtype, bias_dtype = ctx.dtypes
        return (
            None if d_x is None else d_x * d_loss.to(d_x.dtype),
            None if d_weight is None else (d_weight * d_loss).to(weight_dtype),
            None if d_bias is None else (d_bias * d_loss).to(bias_dtype),
            None,
            None,
            None,
        )
