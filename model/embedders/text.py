"""Token ids -> tokens."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from model.cross_entropy import output_layer
from model.embedders.options import TextOptions
from model.positions.rotary import positions_of
from model.tokens import Tokens


class TokenEmbedding(nn.Embedding):
    """Token ids -> vectors, and back: a head tied to the embedding is a call of this same module.

    Going through the module, not through its weight, lets sharded engines gather the weight.
    """

    def forward(
        self, x: Tensor, *, as_head: bool = False, bias_V: Tensor | None = None, targets: Tensor | None = None
    ) -> Tensor:
        """Ids [B, T] -> [B, T, D]; with `as_head`, hidden states [B, T, D] -> logits, or the loss (`output_layer`)."""
        return output_layer(x, self.weight, bias_V, targets) if as_head else super().forward(x)


class TextEmbedder(nn.Module):
    """Token ids, and the vectors of their kinds of segment."""

    def __init__(self, options: TextOptions, dim: int) -> None:
        super().__init__()
        self._scale = math.sqrt(dim) if options.scaled else 1.0
        self.tokens = TokenEmbedding(options.vocab_size, dim)
        self.types = nn.Embedding(options.num_types, dim) if options.num_types else None

    def share_tokens_of(self, other: TextEmbedder) -> None:
        """Take the table of `other`, among whose parameters alone it goes on being listed."""
        del self.tokens
        # Past nn.Module, which would list it a second time: a parameter has one name in checkpoints and engines.
        object.__setattr__(self, "tokens", other.tokens)

    def forward(
        self,
        tokens_BT: Tensor,
        segments_BT: Tensor | None = None,
        *,
        types_BT: Tensor | None = None,
        positions_BT: Tensor | None = None,
        split_B: Tensor | None = None,
    ) -> Tokens:
        """The tokens.

        Args:
            tokens_BT: int64 token ids.
            segments_BT: document number of each token, below 0 for padding; the tokens of a document
                stand side by side. None means that each row is one document.
            types_BT: kind of segment of each token; default 0.
            positions_BT: places, where they do not simply restart with every document.
            split_B: how many leading tokens are the prefix.
        """
        x_BTD = self.tokens(tokens_BT) * self._scale
        if self.types is not None:
            x_BTD = x_BTD + self.types(torch.zeros_like(tokens_BT) if types_BT is None else types_BT)
        if positions_BT is None:
            index_T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
            positions_BT = index_T[None] if segments_BT is None else positions_of(segments_BT)
        return Tokens(x_BTD, positions_BT, segments_BT, split=split_B)
