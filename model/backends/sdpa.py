"""torch's scaled_dot_product_attention: whichever of its kernels fits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from model.backends.backend import Backend, Request
from model.visibility import Causal, Everything, NotPadding, SameSegment, Visibility, conjuncts, dense_mask

_MINUS_INFINITY = float("-inf")


@dataclass(frozen=True)
class _Visible:
    mask: Tensor | None
    "Added to scores [B or 1, 1, T, S]: 0 or -inf, every query sees something; None: `is_causal` says it all."
    is_causal: bool
    blind: Tensor | None
    "Queries that see nothing [B or 1, 1, T, 1], whose results are zero; None: there is none."


class SDPA(Backend):
    """Every rule, by a dense mask where `is_causal` is not enough."""

    name = "sdpa"

    def objection(self, request: Request) -> str | None:
        return "sdpa has no softcap" if request.softcap is not None else None

    def prepare(self, request: Request) -> _Visible:
        rules = {rule for rule in conjuncts(request.rule) if not _allows_all(rule, request)}
        if not rules:
            return _Visible(None, is_causal=False, blind=None)
        if rules == {Causal()} and request.query is request.key:
            return _Visible(None, is_causal=True, blind=None)
        return self.of_mask(dense_mask(request.rule, request.query, request.key), request.dtype)

    def of_mask(self, mask: Tensor, dtype: torch.dtype) -> _Visible:
        """What `prepare` makes of a mask [B or 1, 1, T, S]."""
        blind = ~mask.any(-1, keepdim=True)
        # A softmax over nothing is NaN in some kernels: such a query sees all, and its result is dropped. Kernels add
        # to the scores, and would turn a boolean mask into this one again in every layer.
        added = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
        added.masked_fill_(~(mask | blind), _MINUS_INFINITY)
        is_known = mask.device.type == "cpu" and not blind.any()
        return _Visible(added, is_causal=False, blind=None if is_known else blind)

    def attend(
        self,
        q_BHTK: Tensor,
        k_BGSK: Tensor,
        v_BGSK: Tensor,
        prepared: _Visible,
        *,
        scale: float,
        bias: Tensor | None = None,
        softcap: float | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        mask, is_causal = prepared.mask, prepared.is_causal
        if mask is not None:
            mask = mask.to(q_BHTK.dtype)
        if bias is not None:
            bias = bias.to(q_BHTK.dtype)
            if is_causal:
                later = q_BHTK.new_ones(q_BHTK.shape[2], k_BGSK.shape[2], dtype=torch.bool).triu(1)
                mask, is_causal = bias.masked_fill(later, _MINUS_INFINITY), False
            else:
                mask = bias if mask is None else bias + mask
        mixed_BHTK = scaled_dot_product_attention(
            q_BHTK,
            k_BGSK,
            v_BGSK,
            attn_mask=mask,
            dropout_p=dropout,
            is_causal=is_causal,
            scale=scale,
            enable_gqa=q_BHTK.shape[1] != k_BGSK.shape[1],
        )
        return mixed_BHTK if prepared.blind is None else mixed_BHTK.masked_fill(prepared.blind, 0.0)


def _allows_all(rule: Visibility, request: Request) -> bool:
    """Whether the rule is known to allow every pair. Segments are looked at only where that makes no device wait."""
    if rule == Everything():
        return True
    query, key = request.query.segment, request.key.segment
    if request.device.type != "cpu" or key is None:
        return False
    if rule == NotPadding():
        return bool((key >= 0).all())
    if rule == SameSegment() and query is not None:
        first = key[:, :1]
        return bool((first >= 0).all() and (key == first).all() and (query == first).all())
    return False
