"""The definition of attention: every score, a dense mask, a softmax. Slow; the others are held to it."""

from __future__ import annotations

import torch
from torch import Tensor, einsum
from torch.nn.functional import dropout as drop

from model.backends.backend import Backend, Request
from model.visibility import dense_mask


class Reference(Backend):
    """Anything that can be asked."""

    name = "reference"

    def objection(self, request: Request) -> str | None:
        return None

    def prepare(self, request: Request) -> Tensor:
        return self.of_mask(dense_mask(request.rule, request.query, request.key), request.dtype)

    def of_mask(self, mask: Tensor, dtype: torch.dtype) -> Tensor:
        """What `prepare` makes of a mask [B or 1, 1, T, S]."""
        return mask

    def weights(
        self,
        q_BHTK: Tensor,
        k_BGSK: Tensor,
        prepared: Tensor,
        *,
        scale: float,
        bias: Tensor | None = None,
        softcap: float | None = None,
    ) -> Tensor:
        """The attention weights [B, H, T, S]; rows that see nothing are zero."""
        k_BHSK = k_BGSK.repeat_interleave(q_BHTK.shape[1] // k_BGSK.shape[1], dim=1)
        scores_BHTS = einsum("bhtk,bhsk->bhts", q_BHTK, k_BHSK) * scale
        if softcap is not None:
            scores_BHTS = softcap * (scores_BHTS / softcap).tanh()
        if bias is not None:
            scores_BHTS = scores_BHTS + bias
        # A row that sees nothing is a softmax over equal scores, and then zeroed: no NaN, and no gradient.
        scores_BHTS = scores_BHTS.masked_fill(~prepared, float("-inf"))
        sees_something = prepared.any(-1, keepdim=True)
        scores_BHTS = scores_BHTS.masked_fill(~sees_something, 0.0)
        return scores_BHTS.softmax(-1).masked_fill(~sees_something, 0.0)

    def attend(
        self,
        q_BHTK: Tensor,
        k_BGSK: Tensor,
        v_BGSK: Tensor,
        prepared: Tensor,
        *,
        scale: float,
        bias: Tensor | None = None,
        softcap: float | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        weights_BHTS = self.weights(q_BHTK, k_BGSK, prepared, scale=scale, bias=bias, softcap=softcap)
        v_BHSK = v_BGSK.repeat_interleave(q_BHTK.shape[1] // v_BGSK.shape[1], dim=1)
        return einsum("bhts,bhsk->bhtk", drop(weights_BHTS, dropout), v_BHSK)
