"""Tokenised documents in shards: their lengths, any range of their tokens, pieces of a given size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.errors import DataError
from configs.options import Part
from data.index import ShardIndex, content_hashes
from data.sample import fingerprint_of
from data.shards import Shard, open_shards
from data.storage import Storage

Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]
Tokens = NDArray[Any]
"Token ids, of whatever integer type they were packed in."

PADDING = -1
"The segment number of padding."


class TokenShard:
    """A shard with one `.npy` member of token ids per document; a document without one has no tokens."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        if np.dtype(self.index.dtype or "O").kind not in "iu":
            raise DataError(
                f"{self.index.shard_path}: holds no token arrays (one-dimensional integer .npy members), but "
                f"members {', '.join(self.index.members) or 'none'}. Pack text with: polytrain pack"
            )

    @property
    def index(self) -> ShardIndex:
        """The index beside the shard."""
        return self._shard.index

    def lengths(self) -> Int64:
        """Tokens of each document, its end of text included [documents]."""
        return np.diff(self.index.ends, prepend=0)

    def tokens(self, document: int, first: int, last: int) -> Tokens:
        """Tokens first, ..., last - 1 of a document."""
        index = self.index
        dtype = np.dtype(index.dtype)
        column = index.members.index("npy")
        member_end = int(index.offsets[document, column] + index.sizes[document, column])
        length = int(index.ends[document]) - (int(index.ends[document - 1]) if document else 0)
        # An .npy member is a header and then the array, so the array is found from the member's end.
        data_start = member_end - length * dtype.itemsize
        content = self._shard.read(data_start + first * dtype.itemsize, (last - first) * dtype.itemsize)
        return np.frombuffer(content, dtype=dtype)


def open_token_shards(names: Sequence[str], storage: Storage | None) -> list[TokenShard]:
    """The shards that webdataset names stand for.

    Raises:
        DataError: when one is missing, not indexed, or holds no tokens.
    """
    return [TokenShard(shard) for shard in open_shards(names, storage)]


def fingerprint(options: Part, indexes: Sequence[ShardIndex]) -> int:
    """A 63-bit hash of the content of the shards and every option but where they lie."""
    kept = {key: value for key, value in options.tree().items() if key != "shards"}
    return fingerprint_of(json.dumps(kept, sort_keys=True).encode() + content_hashes(indexes))


def padded(tokens: Tokens, length: int) -> tuple[Int32, Int32]:
    """`tokens` followed by zeros, and their segments: 0, and PADDING where there is none [length]."""
    row, segments = np.zeros(length, dtype=np.int32), np.full(length, PADDING, dtype=np.int32)
    row[: len(tokens)] = tokens
    segments[: len(tokens)] = 0
    return row, segments


@dataclass(frozen=True)
class Piece:
    """Tokens first, ..., last - 1 of a document."""

    document: int
    "Its number, counted through all shards."
    first: int
    last: int


class Pieces:
    """Every document cut into pieces of `size` tokens, numbered through all shards.

    The first `lengths[i] - trim` tokens of document i count. A last piece below `smallest` tokens is
    left out, and so are all but the first `most` pieces of a document.
    """

    def __init__(
        self, shards: Sequence[TokenShard], size: int, *, smallest: int = 1, trim: int = 0, most: int | None = None
    ) -> None:
        self._shards = shards
        self._size = size
        self._trim = trim
        counts = []
        for shard in shards:
            lengths = np.maximum(shard.lengths() - trim, 0)
            count = lengths // size + (lengths % size >= smallest)
            counts.append(count if most is None else np.minimum(count, most))
        self._ends = np.cumsum(np.concatenate([*counts, np.zeros(0, np.int64)]))
        self._first_documents = np.cumsum([0, *(len(shard.index) for shard in shards)])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: int) -> Piece:
        if not 0 <= index < len(self):
            raise IndexError(f"piece {index} of {len(self)}")
        document = int(np.searchsorted(self._ends, index, side="right"))
        first = (index - self.of_document(document).start) * self._size
        return Piece(document, first, min(first + self._size, self.length(document)))

    def of_document(self, document: int) -> range:
        """The numbers of the pieces of a document."""
        return range(int(self._ends[document - 1]) if document else 0, int(self._ends[document]))

    def length(self, document: int) -> int:
        """The tokens of a document that count."""
        shard, row = self._place(document)
        ends = shard.index.ends
        return int(ends[row]) - (int(ends[row - 1]) if row else 0) - self._trim

    def tokens(self, piece: Piece) -> Tokens:
        """The tokens of a piece, or of any other range of a document."""
        shard, row = self._place(piece.document)
        return shard.tokens(row, piece.first, piece.last)

    def _place(self, document: int) -> tuple[TokenShard, int]:
        number = int(np.searchsorted(self._first_documents, document, side="right")) - 1
        return self._shards[number], document - int(self._first_documents[number])
