"""The module that a description describes: a model, and its head."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from configs.options import construct
from model.embedders.options import TextOptions
from model.embedders.text import TextEmbedder
from model.heads import LMHead
from model.interop.family import Description
from model.options import LMHeadOptions
from model.tokens import Tokens


class DescribedModel(nn.Module):
    """`transformer` and, where there is one, `head`: the names under which weights are imported."""

    def __init__(self, description: Description[Any]) -> None:
        super().__init__()
        self.description = description
        self.transformer = cast(nn.Module, construct(description.model))
        head = description.head
        if isinstance(head, LMHeadOptions):
            assert isinstance(description.model.embedder, TextOptions)
            self.head: nn.Module = LMHead(head, description.model.dim, description.model.embedder.vocab_size)
        elif head is not None:
            self.head = cast(nn.Module, construct(head, description.model))

    def logits(self, hidden: Tokens) -> Tensor:
        """What the head makes of hidden states."""
        embedder = cast(TextEmbedder, self.transformer.embedder)
        return self.head(hidden.x, embedder.tokens)  # type: ignore[no-any-return]
