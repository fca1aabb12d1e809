"""Rows of whole documents: best-fit packing without truncation (Ding et al. 2024).

Documents longer than a row are cut into rows, and their rest is packed with the other documents. Each
document (or piece) has its own segment number within the row; what is left of a row is padding. Which
documents share a row follows from their lengths alone, shard by shard.
"""

from __future__ import annotations

import numpy as np

from configs.errors import DataError
from data.sample import Sample
from data.storage import Storage
from data.text.best_fit import best_fit_decreasing
from data.text.options import PackedDocumentsOptions
from data.text.token_shards import PADDING, TokenShard, fingerprint, open_token_shards


class PackedDocuments:
    """A `Source` of `{"tokens": [length + 1], "segments": [length + 1]}` (int32).

    Every token of the shards is in exactly one row. Padding has segment -1 and token 0.
    """

    def __init__(self, options: PackedDocumentsOptions, storage: Storage | None = None) -> None:
        self._options = options
        self.row_size = options.length + 1
        self._shards = [_PackedShard(shard, self.row_size) for shard in open_token_shards(options.shards, storage)]
        self._ends = np.cumsum([len(shard) for shard in self._shards], dtype=np.int64)
        self.num_tokens = sum(shard.shard.index.length for shard in self._shards)
        if not self.num_tokens:
            raise DataError(f"{options.shards}: the {len(self._shards)} shard(s) hold no tokens. Pack some text.")

    @property
    def fingerprint(self) -> int:
        """A 63-bit hash of the shards' content and the row's length."""
        return fingerprint(self._options, [shard.shard.index for shard in self._shards])

    @property
    def padding(self) -> float:
        """The share of all rows that is padding."""
        return 1 - self.num_tokens / (len(self) * self.row_size)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        number = int(np.searchsorted(self._ends, index, side="right"))
        shard = self._shards[number]
        tokens = np.zeros(self.row_size, dtype=np.int32)
        segments = np.full(self.row_size, PADDING, dtype=np.int32)
        filled = 0
        for segment, (document, first, last) in enumerate(shard.row(index - int(self._ends[number]) + len(shard))):
            stop = filled + last - first
            tokens[filled:stop] = shard.shard.tokens(document, first, last)
            segments[filled:stop] = segment
            filled = stop
        return {"tokens": tokens, "segments": segments}


class _PackedShard:
    """Which documents lie in which row: first the rows of one piece of a long document, then the packed ones."""

    def __init__(self, shard: TokenShard, size: int) -> None:
        self.shard = shard
        self._size = size
        lengths = shard.lengths()
        self._full_ends = np.cumsum(lengths // size)
        documents = np.flatnonzero(lengths % size)
        rows = best_fit_decreasing(lengths[documents] % size, size)
        # Stable: within a row, longer pieces come first, in the order of the shard.
        by_size = np.argsort(-(lengths[documents] % size), kind="stable")
        by_row = by_size[np.argsort(rows[by_size], kind="stable")]
        self._documents = documents[by_row].astype(np.int32)
        self._row_ends = np.cumsum(np.bincount(rows), dtype=np.int64)

    @property
    def _num_full(self) -> int:
        return int(self._full_ends[-1]) if len(self._full_ends) else 0

    def __len__(self) -> int:
        return self._num_full + len(self._row_ends)

    def row(self, row: int) -> list[tuple[int, int, int]]:
        """(document, first token, last token + 1) of each piece in a row."""
        if row < self._num_full:
            document = int(np.searchsorted(self._full_ends, row, side="right"))
            first = (row - (int(self._full_ends[document - 1]) if document else 0)) * self._size
            return [(document, first, first + self._size)]
        row -= self._num_full
        start = int(self._row_ends[row - 1]) if row else 0
        return [self._rest(int(document)) for document in self._documents[start : int(self._row_ends[row])]]

    def _rest(self, document: int) -> tuple[int, int, int]:
        ends = self.shard.index.ends
        length = int(ends[document]) - (int(ends[document - 1]) if document else 0)
        return document, length - length % self._size, length
