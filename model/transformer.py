"""The transformer: token ids -> hidden states."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

from model.attention import AttentionContext
from model.block import Block
from model.norm import build_norm
from model.options import TransformerOptions
from model.positions import positions_of, rotary_angles
from model.visibility import Causal, Places, SameSegment, dense_mask


class TokenEmbedding(nn.Embedding):
    """Token ids -> vectors, and back: a head tied to the embedding is a call of this same module.

    Going through the module, not through its weight, lets sharded engines gather the weight.
    """

    def forward(self, x: Tensor, *, as_head: bool = False) -> Tensor:
        """Ids [B, T] -> [B, T, D]; with `as_head`, hidden states [B, T, D] -> logits [B, T, V]."""
        return linear(x, self.weight) if as_head else super().forward(x)


class Transformer(nn.Module):
    """Embedding -> blocks -> final norm. Heads belong to objectives."""

    def __init__(self, options: TransformerOptions) -> None:
        super().__init__()
        self.options = options
        self.recompute_blocks = False
        "Activation checkpointing (Chen et al. 2016): keep only block inputs, recompute the rest backward."
        self.embedding = TokenEmbedding(options.vocab_size, options.dim)
        if options.positions == "learned":
            self.position_embedding = nn.Embedding(options.max_length, options.dim)
        self.dropout = nn.Dropout(options.dropout)
        self.blocks = nn.ModuleList(Block(options) for _ in range(options.num_layers))
        self.norm = build_norm(options)

    def forward(self, tokens_BT: Tensor, segments_BT: Tensor | None = None) -> Tensor:
        """Hidden states [B, T, D].

        Args:
            tokens_BT: int64 token ids.
            segments_BT: document number of each token, below 0 for padding; the tokens of a document
                stand side by side. None means that each row is one document. Ignored where `documents: joined`.
        """
        if self.options.documents == "joined":
            segments_BT = None
        index_T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
        positions_BT = index_T[None] if segments_BT is None else positions_of(segments_BT)
        x_BTD = self.embedding(tokens_BT)
        if self.options.positions == "learned":
            x_BTD = x_BTD + self.position_embedding(positions_BT)
        x_BTD = self.dropout(x_BTD)
        context = self._context(index_T, segments_BT, positions_BT, x_BTD.dtype)
        for block in self.blocks:
            if self.recompute_blocks and self.training:
                x_BTD = checkpoint(block, x_BTD, context, use_reentrant=False)
            else:
                x_BTD = block(x_BTD, context)
        return self.norm(x_BTD)  # type: ignore[no-any-return]

    def _context(
        self, index_T: Tensor, segments_BT: Tensor | None, positions_BT: Tensor, dtype: torch.dtype
    ) -> AttentionContext:
        mask = None
        if segments_BT is not None:
            mask = dense_mask(Causal() & SameSegment(), Places(index_T[None], segments_BT))
        angles = None
        if self.options.positions == "rotary":
            cos, sin = rotary_angles(positions_BT, self.options.head_width, self.options.rotary_base)
            angles = (cos.to(dtype), sin.to(dtype))
        return AttentionContext(mask, angles)
