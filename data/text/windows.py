"""Training sequences from packed text: windows over the concatenated documents of a shard.

Window w of a shard covers tokens [w L, w L + L + 1): L inputs and, shifted by one, L targets. Every
document carries its own segment number within the window, so a model can keep documents apart. No
token is padding; the last incomplete window of each shard is left out.
"""

from __future__ import annotations

import numpy as np

from configs.errors import DataError
from data.index import content_hashes
from data.sample import Sample, fingerprint_of
from data.storage import Storage
from data.text.options import TokenWindowsOptions
from data.text.token_shards import open_token_shards


class TokenWindows:
    """A `Source` of `{"tokens": [length + 1], "segments": [length + 1]}` (int32), L = length."""

    def __init__(self, options: TokenWindowsOptions, storage: Storage | None = None) -> None:
        self.length = options.length
        self._shards = open_token_shards(options.shards, storage)
        windows = [max(0, shard.index.length - 1) // self.length for shard in self._shards]
        self._ends = np.cumsum(windows, dtype=np.int64)
        if not len(self):
            tokens = sum(shard.index.length for shard in self._shards)
            raise DataError(
                f"{options.shards}: {tokens} tokens in {len(self._shards)} shard(s) make no window of "
                f"{self.length} tokens. Lower the key 'length', or pack more text."
            )

    @property
    def fingerprint(self) -> int:
        """A 63-bit hash of the content: the shards' hashes in order, and the window length."""
        content = content_hashes(shard.index for shard in self._shards)
        return fingerprint_of(str(self.length).encode() + content)

    @property
    def num_tokens(self) -> int:
        """Tokens of one epoch, counted as inputs."""
        return len(self) * self.length

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        shard_number = int(np.searchsorted(self._ends, index, side="right"))
        window = index - (int(self._ends[shard_number - 1]) if shard_number else 0)
        shard = self._shards[shard_number]
        start, stop = window * self.length, (window + 1) * self.length + 1
        ends = shard.index.ends
        document = int(np.searchsorted(ends, start, side="right"))
        tokens = np.empty(stop - start, dtype=np.int32)
        segments = np.empty(stop - start, dtype=np.int32)
        filled, segment = 0, 0
        while filled < stop - start:
            document_start = int(ends[document - 1]) if document else 0
            first = start + filled - document_start
            last = min(int(ends[document]), stop) - document_start
            if last > first:  # a sample may be empty, or have no .npy member at all
                tokens[filled : filled + last - first] = shard.tokens(document, first, last)
                segments[filled : filled + last - first] = segment
                filled += last - first
                segment += 1
            document += 1
        return {"tokens": tokens, "segments": segments}
