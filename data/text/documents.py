"""One document, or one piece of a long one, per row."""

from __future__ import annotations

import numpy as np

from configs.errors import DataError
from data.sample import Sample
from data.storage import Storage
from data.text.options import DocumentRowsOptions
from data.text.token_shards import Pieces, TokenShard, fingerprint, open_token_shards, padded


class DocumentRows:
    """A `Source` of `{"tokens": [length + 1], "segments": [length + 1]}` (int32).

    The segment is 0, and -1 on padding, whose token is 0. Documents without tokens are left out.
    """

    def __init__(self, options: DocumentRowsOptions, storage: Storage | None = None) -> None:
        self._options = options
        self._shards = open_token_shards(options.shards, storage)
        if options.longer == "refuse":
            for shard in self._shards:
                _require_fitting(shard, options.length + 1)
        self._pieces = Pieces(self._shards, options.length + 1, most=None if options.longer == "split" else 1)
        if not len(self._pieces):
            raise DataError(f"{options.shards}: the {len(self._shards)} shard(s) hold no tokens. Pack some text.")

    @property
    def fingerprint(self) -> int:
        """A 63-bit hash of the shards' content and the options."""
        return fingerprint(self._options, [shard.index for shard in self._shards])

    def __len__(self) -> int:
        return len(self._pieces)

    def __getitem__(self, index: int) -> Sample:
        tokens, segments = padded(self._pieces.tokens(self._pieces[index]), self._options.length + 1)
        return {"tokens": tokens, "segments": segments}


def _require_fitting(shard: TokenShard, size: int) -> None:
    too_long = np.flatnonzero(shard.lengths() > size)
    if len(too_long):
        first = int(too_long[0])
        raise DataError(
            f"{shard.index.shard_path}: document '{shard.index.key(first)}' has {shard.lengths()[first]} tokens, a row "
            f"{size} (length + 1); {len(too_long)} document(s) are too long. Raise the key 'length', or set "
            "'longer' to cut or split."
        )
