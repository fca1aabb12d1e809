"""An encoder, and a decoder that attends to what it gives (Vaswani et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import nn

from configs.options import construct
from model.embedders.text import TextEmbedder
from model.options import EncoderDecoderOptions
from model.tokens import Tokens
from model.transformer import Transformer


class EncoderDecoder(nn.Module):
    """Two transformers; blocks of the decoder attend to the encoder's hidden states.

    Step by step: `decoder.start(..., memory=encode(...))`, then `decoder.step`.

    Where both sides have segments, a token sees the part of the memory that has its own segment number, so pairs
    can be packed: the n-th target of a row belongs to the n-th source, and padding is below 0 on both sides. A
    decoder without segments sees the whole memory but its padding.
    """

    def __init__(self, options: EncoderDecoderOptions) -> None:
        super().__init__()
        self.options = options
        self.encoder = cast(Transformer, construct(options.encoder))
        self.decoder = cast(Transformer, construct(options.decoder))
        if options.shared_embedding:
            cast(TextEmbedder, self.decoder.embedder).share_tokens_of(cast(TextEmbedder, self.encoder.embedder))

    @property
    def embedder(self) -> nn.Module:
        """The decoder's: its tokens are what a head predicts."""
        return self.decoder.embedder

    def forward(self, encoder_fields: Sequence[Any], decoder_fields: Sequence[Any]) -> Tokens:
        """Hidden states of the decoder: `model((source, source_segments), (target, target_segments))`.

        Args:
            encoder_fields: what the encoder's embedder takes.
            decoder_fields: what the decoder's embedder takes.
        """
        return self.decode(self.encode(*encoder_fields), *decoder_fields)

    def encode(self, *fields: Any, **more_fields: Any) -> Tokens:
        """The memory: hidden states of the encoder, and where they stand."""
        return self.encoder(*fields, **more_fields)  # type: ignore[no-any-return]

    def decode(self, memory: Tokens, *fields: Any, **more_fields: Any) -> Tokens:
        """Hidden states of the decoder."""
        return self.decoder(*fields, memory=memory, **more_fields)  # type: ignore[no-any-return]
