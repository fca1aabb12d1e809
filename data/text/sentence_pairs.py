"""Two spans of text, and whether the second follows the first.

Next-sentence prediction (Devlin et al. 2019, BERT) takes the second span of half the pairs from another
document; sentence-order prediction (Lan et al. 2020, ALBERT) swaps the two. Token shards know no
sentences: a piece of a document is cut in two at a random token.
"""

from __future__ import annotations

import numpy as np

from configs.errors import DataError
from data.priors.prior import between
from data.randomness import stream
from data.sample import Sample
from data.storage import Storage
from data.text.options import SentencePairsOptions
from data.text.token_shards import Piece, Pieces, Tokens, fingerprint, open_token_shards, padded

_SPECIAL = 3  # [CLS] A [SEP] B [SEP]


class SentencePairs:
    """A `RandomSource` of pairs, [CLS] A [SEP] B [SEP] and padding:

    tokens    [length] int32; padding is 0
    types     [length] int8: 0 up to the first [SEP], 1 from there to the second, 0 on padding
    segments  [length] int32: 0, and -1 on padding
    label     [] int64: 0 where B follows A, 1 where it does not

    The end of text at the end of each document is left out, and so are pieces below two tokens.
    """

    def __init__(self, options: SentencePairsOptions, storage: Storage | None = None) -> None:
        self._options = options
        self._shards = open_token_shards(options.shards, storage)
        self._pieces = Pieces(self._shards, options.length - _SPECIAL, smallest=2, trim=1)
        if not len(self._pieces):
            raise DataError(f"{options.shards}: no document has two tokens and an end of text. Pack longer texts.")
        if options.negatives == "random_document" and self._pieces[0].document == self._pieces[len(self) - 1].document:
            raise DataError(
                f"{options.shards}: one document only; 'negatives: random_document' needs another one to take "
                "spans from. Pack more documents, or set 'negatives: swapped'."
            )

    @property
    def fingerprint(self) -> int:
        """A 63-bit hash of the shards' content and the options."""
        return fingerprint(self._options, [shard.index for shard in self._shards])

    def __len__(self) -> int:
        return len(self._pieces)

    def __getitem__(self, index: int) -> Sample:
        return self.draw(index, stream(0, self._options.kind, index))

    def draw(self, index: int, generator: np.random.Generator) -> Sample:
        """Piece `index`, cut at a random place; with probability 1/2 its second span is the wrong one."""
        piece = self._pieces[index]
        tokens = self._pieces.tokens(piece)
        cut = between(generator, 1, len(tokens) - 1)
        first, second = tokens[:cut], tokens[cut:]
        label = between(generator, 0, 1)
        if label and self._options.negatives == "swapped":
            first, second = second, first
        elif label:
            second = self._span_of_another(piece, len(second), generator)
        return self._sample(first, second, label)

    def _span_of_another(self, piece: Piece, length: int, generator: np.random.Generator) -> Tokens:
        """`length` tokens from a random place of another document, or all of a shorter one.

        Documents are drawn in proportion to their pieces.
        """
        own = self._pieces.of_document(piece.document)
        drawn = int(generator.integers(len(self._pieces) - len(own)))
        other = self._pieces[drawn if drawn < own.start else drawn + len(own)].document
        available = self._pieces.length(other)
        first = between(generator, 0, max(0, available - length))
        return self._pieces.tokens(Piece(other, first, min(first + length, available)))

    def _sample(self, first: Tokens, second: Tokens, label: int) -> Sample:
        options = self._options
        row = np.concatenate([[options.cls], first, [options.sep], second, [options.sep]])
        tokens, segments = padded(row, options.length)
        types = np.zeros(options.length, dtype=np.int8)
        types[len(first) + 2 : len(row)] = 1
        return {"tokens": tokens, "types": types, "segments": segments, "label": np.array(label, dtype=np.int64)}
