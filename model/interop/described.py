"""The module that a description describes: a model, and its head."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from configs.options import construct
from model.codebooks import ContrastiveHead
from model.embedders.options import TextOptions
from model.embedders.text import TextEmbedder
from model.heads import LMHead, Pooler, ReplacedTokenHead, SentencePairHead
from model.interop.family import Description
from model.options import (
    AnyHead,
    ContrastiveHeadOptions,
    PixelDecoderOptions,
    PoolerOptions,
    ReplacedTokenOptions,
    SentencePairOptions,
    TransformerOptions,
)
from model.pixel_decoder import PixelDecoder
from model.tokens import Tokens


class DescribedModel(nn.Module):
    """`transformer` and, where there is one, `head`: the names under which weights are imported."""

    def __init__(self, description: Description[Any]) -> None:
        super().__init__()
        self.description = description
        self.transformer = cast(nn.Module, construct(description.model))
        if description.head is not None:
            self.head = _build_head(description.head, description.model)

    def logits(self, hidden: Tokens) -> Tensor:
        """What a head of tokens makes of hidden states; other heads are called: `head(hidden)`."""
        embedder = cast(TextEmbedder, self.transformer.embedder)
        return self.head(hidden.x, embedder.tokens)  # type: ignore[no-any-return]


def _build_head(head: AnyHead, model: TransformerOptions) -> nn.Module:
    if isinstance(head, PoolerOptions):
        return Pooler(head, model.dim)
    if isinstance(head, ContrastiveHeadOptions):
        return ContrastiveHead(head, model)
    if isinstance(head, PixelDecoderOptions):
        return PixelDecoder(head, model)
    if isinstance(head, ReplacedTokenOptions):
        return ReplacedTokenHead(head, model.dim)
    assert isinstance(model.embedder, TextOptions)
    if isinstance(head, SentencePairOptions):
        return SentencePairHead(head, model.dim, model.embedder.vocab_size)
    return LMHead(head, model.dim, model.embedder.vocab_size)
