"""Documents cut into a prefix to be read and a target to be written, for encoder-decoder models."""

from __future__ import annotations

import numpy as np

from configs.errors import DataError
from data.priors.prior import between
from data.randomness import stream
from data.sample import Sample
from data.storage import Storage
from data.text.options import PrefixTargetOptions
from data.text.token_shards import Piece, Pieces, Tokens, fingerprint, open_token_shards, padded


def pair(inputs: Tokens, targets: Tokens, input_length: int, target_length: int) -> Sample:
    """The sample of an input and what is to be written for it, both padded:

    inputs, input_segments     [input_length] int32
    targets, target_segments   [target_length] int32

    Segments are 0, and -1 on padding, whose token is 0. `targets` is not shifted: a decoder that
    predicts it reads a start token and then `targets[:-1]`.
    """
    input_tokens, input_segments = padded(inputs, input_length)
    target_tokens, target_segments = padded(targets, target_length)
    return {
        "inputs": input_tokens,
        "input_segments": input_segments,
        "targets": target_tokens,
        "target_segments": target_segments,
    }


class PrefixTarget:
    """A `RandomSource` of pairs (see `pair`): prefix and continuation (Raffel et al. 2020, T5, section 3.2.3).

    A document of n tokens can be cut before its token 1, ..., n - 1. Sample by sample another run of
    `target_length` neighbouring cuts; which of them is taken is drawn, each equally likely. The prefix is what
    comes before it, the nearest `input_length` tokens; the target what follows, up to the end of text.
    """

    def __init__(self, options: PrefixTargetOptions, storage: Storage | None = None) -> None:
        self._options = options
        self._shards = open_token_shards(options.shards, storage)
        self._cuts = Pieces(self._shards, options.target_length, trim=1)
        if not len(self._cuts):
            raise DataError(f"{options.shards}: no document has two tokens. Pack longer texts.")

    @property
    def fingerprint(self) -> int:
        """A 63-bit hash of the shards' content and the options."""
        return fingerprint(self._options, [shard.index for shard in self._shards])

    def __len__(self) -> int:
        return len(self._cuts)

    def __getitem__(self, index: int) -> Sample:
        return self.draw(index, stream(0, self._options.kind, index))

    def draw(self, index: int, generator: np.random.Generator) -> Sample:
        """Run of cuts `index`, at a random one of them."""
        input_length, target_length = self._options.input_length, self._options.target_length
        run = self._cuts[index]
        cut = between(generator, run.first + 1, run.last)
        first, last = max(0, cut - input_length), min(cut + target_length, self._cuts.length(run.document) + 1)
        tokens = self._cuts.tokens(Piece(run.document, first, last))
        return pair(tokens[: cut - first], tokens[cut - first :], input_length, target_length)
