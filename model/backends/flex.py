"""torch's FlexAttention (Dong et al. 2024): block-sparse kernels that are written from the rule. Untested on GPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from model.backends.backend import Backend, Request
from model.visibility import Places, Visibility

_LEAST_WIDTH = 16
"Narrower heads have no CUDA kernel."


class Flex(Backend):
    """Every rule, softcap and bias. Blocks of 128 x 128 pairs of which the rule allows none cost nothing."""

    name = "flex"

    def objection(self, request: Request) -> str | None:
        kind = request.device.type
        if kind not in ("cuda", "cpu"):
            return f"flex runs on CUDA, and forward on CPU, not on {kind}"
        if kind == "cpu" and request.needs_grad:
            return "flex has no backward on CPU"
        if request.dropout:
            return "flex has no dropout"
        if kind == "cuda" and request.head_width < _LEAST_WIDTH:
            return f"flex needs a head width of at least {_LEAST_WIDTH} on CUDA, found {request.head_width}"
        if kind == "cuda" and request.dtype == torch.float64:
            return "flex has no float64 on CUDA"
        return None

    def hesitation(self, request: Request) -> str | None:
        return "flex compiles its kernel at first; that pays on CUDA only" if request.device.type == "cpu" else None

    def prepare(self, request: Request) -> BlockMask:
        query, key = request.query, request.key
        places = (query.index, query.segment, query.split, key.index, key.segment, key.split)
        num_rows = max(len(place) for place in places if place is not None)
        make: Callable[..., BlockMask] = _compiled_mask() if request.device.type == "cuda" else create_block_mask
        return make(
            _mask_mod(request.rule, query, key),
            # One mask for all rows where all have the same places.
            num_rows if num_rows > 1 else None,
            None,
            query.index.shape[-1],
            key.index.shape[-1],
            device=request.device,
        )

    def attend(
        self,
        q_BHTK: Tensor,
        k_BGSK: Tensor,
        v_BGSK: Tensor,
        prepared: BlockMask,
        *,
        scale: float,
        bias: Tensor | None = None,
        softcap: float | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        mixed: Tensor = _kernel(q_BHTK.dtype)(
            q_BHTK,
            k_BGSK,
            v_BGSK,
            score_mod=_score_mod(softcap, bias),
            block_mask=prepared,
            scale=scale,
            enable_gqa=q_BHTK.shape[1] != k_BGSK.shape[1],
        )
        return mixed


@cache
def _kernel(dtype: torch.dtype) -> Any:
    # Inductor has no float64 on CPU. Without it every score is computed, which is only good for comparing.
    return flex_attention if dtype == torch.float64 else torch.compile(flex_attention)


@cache
def _compiled_mask() -> Callable[..., Any]:
    """Without a [T, S] tensor on the way."""
    return torch.compile(create_block_mask)


def _mask_mod(rule: Visibility, query: Places, key: Places) -> Callable[..., Tensor]:
    """The rule as a function of (row, head, place of the query, place of the key)."""

    def allowed(row: Tensor, _head: Tensor, at_query: Tensor, at_key: Tensor) -> Tensor:
        return rule.allowed(_at(query, row, at_query), _at(key, row, at_key))

    return allowed


def _at(places: Places, row: Tensor, place: Tensor) -> Places:
    index = places.index[_row_of(places.index, row), place]
    segment = None if places.segment is None else places.segment[_row_of(places.segment, row), place]
    split = None if places.split is None else places.split[_row_of(places.split, row)]
    return Places(index, segment, split)


def _score_mod(softcap: float | None, bias: Tensor | None) -> Callable[..., Tensor] | None:
    if softcap is None and bias is None:
        return None

    def changed(score: Tensor, row: Tensor, head: Tensor, at_query: Tensor, at_key: Tensor) -> Tensor:
        if softcap is not None:
            score = softcap * (score / softcap).tanh()
        if bias is not None:
            score = score + bias[_row_of(bias, row), _row_of(bias[0], head), at_query, at_key]
        return score

    return changed


def _row_of(tensor: Tensor, row: Tensor) -> Tensor:
    """The row to read where a tensor of one row stands for all."""
    return row if len(tensor) > 1 else torch.zeros_like(row)
