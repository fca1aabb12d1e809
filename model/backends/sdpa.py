"""torch's scaled_dot_product_attention: whichever of its kernels fits."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from model.backends.backend import Backend, Request
from model.visibility import Causal, Everything, dense_mask


@dataclass(frozen=True)
class _Visible:
    mask: Tensor | None
    "Dense [B or 1, 1, T, S], every query sees something; None: `is_causal` says it all."
    is_causal: bool
    blind: Tensor | None
    "Queries that see nothing [B or 1, 1, T, 1], whose results are zero."


class SDPA(Backend):
    """Every rule, by a dense mask where `is_causal` is not enough."""

    name = "sdpa"

    def objection(self, request: Request) -> str | None:
        return "sdpa has no softcap" if request.softcap is not None else None

    def prepare(self, request: Request) -> _Visible:
        if request.rule == Everything():
            return _Visible(None, is_causal=False, blind=None)
        if request.rule == Causal() and request.query is request.key:
            return _Visible(None, is_causal=True, blind=None)
        mask = dense_mask(request.rule, request.query, request.key)
        blind = ~mask.any(-1, keepdim=True)
        # A softmax over nothing is NaN in some kernels: such a query sees all, and its result is dropped.
        return _Visible(mask | blind, is_causal=False, blind=blind)

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
        if bias is not None:
            length, num_keys = q_BHTK.shape[2], k_BGSK.shape[2]
            if is_causal:
                mask, is_causal = q_BHTK.new_ones(length, num_keys).bool().tril(), False
            bias = bias.to(q_BHTK.dtype)
            mask = bias if mask is None else bias.masked_fill(~mask, float("-inf"))
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
