"""What shards hold, from their indexes alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import JsonValue

from data.index import ShardIndex


def shard_statistics(indexes: Sequence[ShardIndex]) -> dict[str, JsonValue]:
    """Counts, sizes and lengths over all samples of the shards."""
    lengths = np.concatenate([np.diff(index.ends, prepend=0) for index in indexes])
    facts: dict[str, JsonValue] = {
        "shards": len(indexes),
        "samples": int(sum(len(index) for index in indexes)),
        "bytes": int(sum(index.shard_size for index in indexes)),
    }
    if lengths.any():
        low, middle, high = (int(value) for value in np.percentile(lengths, [5, 50, 95]))
        facts["length"] = int(lengths.sum())
        facts["length of a sample"] = (
            f"{int(lengths.min()):,} to {int(lengths.max()):,}, median {middle:,}, 5-95%: {low:,} to {high:,}"
        )
    for name in sorted({member for index in indexes for member in index.members}):
        facts[f"member {name}"] = _member_facts(name, indexes)
    return facts


def _member_facts(name: str, indexes: Sequence[ShardIndex]) -> str:
    sizes = np.concatenate([index.sizes[:, index.members.index(name)] for index in indexes if name in index.members])
    there = sizes[sizes >= 0]
    return f"in {len(there):,} samples, {there.sum() / 1e6:,.1f} MB, median {np.median(there) / 1e3:,.1f} KB"
