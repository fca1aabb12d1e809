"""Attention that is counted, not computed: FLOPs by the pairs that a rule shows, memory as a fused kernel keeps it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.backends.backend import Backend, Request
from model.visibility import Places, dense_mask

_PAIRS_AT_ONCE = 1 << 24


class CountedAttention(Backend):
    """Stands in for the fused kernels (Dao et al. 2022, FlashAttention), which keep no scores."""

    name = "counted"

    def __init__(self, *, dense: bool = False) -> None:
        """`dense`: count all pairs, whatever the rule shows."""
        self.flops = 0.0
        "Forward and backward, of everything that attended so far."
        self._dense = dense

    def objection(self, request: Request) -> str | None:
        """It does whatever is asked."""
        return None

    def prepare(self, request: Request) -> float:
        """The number of pairs in a row."""
        return num_pairs(request, dense=self._dense)

    def attend(
        self,
        q_BHTK: Tensor,
        k_BGSK: Tensor,
        v_BGSK: Tensor,
        prepared: float,
        *,
        scale: float,
        bias: Tensor | None = None,
        softcap: float | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """A result without numbers; its FLOPs are added up."""
        of_queries, of_keys, of_values = (item.requires_grad for item in (q_BHTK, k_BGSK, v_BGSK))
        # Scores and mixed values; then the gradients of values, weights, queries and keys: a product of each pair.
        products = 2 + of_values + (of_queries or of_keys) + of_queries + of_keys
        rows, heads, _, width = q_BHTK.shape
        self.flops += products * 2.0 * rows * heads * width * prepared
        return _Fused.apply(q_BHTK, k_BGSK, v_BGSK, bias)  # type: ignore[no-any-return]


def num_pairs(request: Request, *, dense: bool = False) -> float:
    """Pairs of a query and a key that may see each other, in a row: the mean over the rows of a batch.

    Of long rows some queries are asked, evenly spaced: exact up to 1 / (queries asked) of the pairs.
    """
    length, num_keys = request.query.index.shape[-1], request.key.index.shape[-1]
    if dense:
        return float(length * num_keys)
    rows = max(1 if item.segment is None else len(item.segment) for item in (request.query, request.key))
    rows = max(rows, 1 if request.key.split is None else len(request.key.split))
    stride = -(-rows * length * num_keys // _PAIRS_AT_ONCE)
    asked = slice(stride // 2, None, stride)
    mask = dense_mask(request.rule, _taken(request.query, asked), request.key)
    return float(mask.sum()) / len(mask) / mask.shape[-2] * length


def _taken(places: Places, which: slice) -> Places:
    segment = None if places.segment is None else places.segment[:, which]
    return replace(places, index=places.index[:, which], segment=segment)


class _Fused(torch.autograd.Function):
    """What a fused kernel keeps for backward: queries, keys, values, the result, and one number for every query."""

    @staticmethod
    def forward(ctx: Any, q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, bias: Tensor | None) -> Tensor:
        rows, heads, length, width = q_BHTK.shape
        mixed_BHTK = q_BHTK.new_empty(rows, length, heads, width).transpose(1, 2)
        logsumexp_BHT = q_BHTK.new_empty(rows, heads, length, dtype=torch.float32)
        ctx.save_for_backward(q_BHTK, k_BGSK, v_BGSK, bias, mixed_BHTK, logsumexp_BHT)
        return mixed_BHTK

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _d_mixed_BHTK: Tensor) -> tuple[Tensor | None, ...]:
        inputs = zip(ctx.saved_tensors[:4], ctx.needs_input_grad, strict=True)
        return tuple(torch.empty_like(item) if item is not None and wanted else None for item, wanted in inputs)
