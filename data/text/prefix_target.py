"""Documents cut into a prefix to be read and a target to be written, for encoder-decoder models."""

from __future__ import annotations

import numpy as np

from configs.errors import DataError
from data.priors.prior import between, stream
from data.sample import Sample
from data.text.options import PrefixTargetOptions
from data.text.token_shards import Pieces, Tokens, fingerprint, open_token_shards, padded


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

    Longer documents are cut into pieces of input_length + target_length tokens; every cut between
    prefix and target at which both fit and neither is empty is equally likely. The last piece of a
    document ends with its end of text. A piece of one token has no cut and is left out.
    """

    def __init__(self, options: PrefixTargetOptions) -> None:
        self._options = options
        self._shards = open_token_shards(options.shards)
        self._pieces = Pieces(self._shards, options.input_length + options.target_length, smallest=2)
        if not len(self._pieces):
            raise DataError(f"{options.shards}: no document has two tokens. Pack longer texts.")

    @property
    def fingerprint(self) -> int:
        """A 63-bit hash of the shards' content and the options."""
        return fingerprint(self._options, [shard.index for shard in self._shards])

    def __len__(self) -> int:
        return len(self._pieces)

    def __getitem__(self, index: int) -> Sample:
        return self.draw(index, stream(0, self._options.kind, index))

    def draw(self, index: int, generator: np.random.Generator) -> Sample:
        """Piece `index`, cut at a random place."""
        input_length, target_length = self._options.input_length, self._options.target_length
        tokens = self._pieces.tokens(self._pieces[index])
        cut = between(generator, max(1, len(tokens) - target_length), min(input_length, len(tokens) - 1))
        return pair(tokens[:cut], tokens[cut:], input_length, target_length)
