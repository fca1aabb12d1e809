"""Samples of two token arrays: a text and its translation, summary or answer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.errors import DataError
from data.arrays import ArrayReader
from data.sample import Sample, SampleError
from data.shards import Shard, open_shards
from data.storage import Storage
from data.text.options import TokenPairsOptions
from data.text.prefix_target import pair
from data.text.token_shards import Tokens, fingerprint

SOURCE, TARGET = "source.npy", "target.npy"


class TokenPairs:
    """A `Source` of pairs (see `data.text.prefix_target.pair`) from the members source.npy and target.npy."""

    def __init__(self, options: TokenPairsOptions, storage: Storage | None = None) -> None:
        self._options = options
        self._shards = open_shards(options.shards, storage)
        for shard in self._shards:
            _require_members(shard)
        self._ends = np.cumsum([len(shard.index) for shard in self._shards], dtype=np.int64)
        if not len(self):
            raise DataError(f"{options.shards}: the {len(self._shards)} shard(s) hold no samples.")

    @property
    def fingerprint(self) -> int:
        """A 63-bit hash of the shards' content and the options."""
        return fingerprint(self._options, [shard.index for shard in self._shards])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"pair {index} of {len(self)}")
        number = int(np.searchsorted(self._ends, index, side="right"))
        shard = self._shards[number]
        sample = index - int(self._ends[number]) + len(shard.index)
        lengths = {SOURCE: self._options.input_length, TARGET: self._options.target_length}
        source, target = (self._fitting(shard, sample, member, lengths[member]) for member in lengths)
        return pair(source, target, *lengths.values())

    def _fitting(self, shard: Shard, sample: int, member: str, length: int) -> Tokens:
        tokens = _array(shard, sample, member)
        if len(tokens) > length and self._options.longer == "refuse":
            raise SampleError(
                f"{_where(shard, sample, member)}: {len(tokens)} tokens, expected at most {length}. Raise the key "
                f"'{'input' if member == SOURCE else 'target'}_length', or set 'longer: cut'."
            )
        return tokens[:length]


def _require_members(shard: Shard) -> None:
    index = shard.index
    for member in (SOURCE, TARGET):
        missing = np.arange(len(index))
        if member in index.members:
            missing = np.flatnonzero(index.offsets[:, index.members.index(member)] < 0)
        if len(missing):
            raise DataError(
                f"{index.shard_path}: {len(missing)} sample(s) without a member {member}, the first "
                f"'{index.key(int(missing[0]))}'; the shard has members {', '.join(index.members)}."
            )


def _array(shard: Shard, sample: int, member: str) -> NDArray[Any]:
    index = shard.index
    column = index.members.index(member)
    content = shard.read(int(index.offsets[sample, column]), int(index.sizes[sample, column]))
    try:
        array = ArrayReader()(content)
    except ValueError as error:
        raise SampleError(f"{_where(shard, sample, member)}: not a numpy array: {error}") from None
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise SampleError(f"{_where(shard, sample, member)}: expected a one-dimensional array of integers.")
    return array


def _where(shard: Shard, sample: int, member: str) -> str:
    return f"{shard.index.where(sample)}, member {member}"
