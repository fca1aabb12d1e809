"""Sharded data whose order is a pure function of (seed, position).

Belongs here: documents and corpora, tokenizers, shards and their index, sources, the order in which
samples are drawn, how a global batch is cut up, and the loader. Position is the only state: nothing
here remembers what it has already produced.

Does not belong here: anything that imports `model` or `train`; process groups (ranks and world
sizes arrive as plain numbers).

    data.documents     where text comes from: the standard library, folders, JSON lines
    data.tokenizer     train, load and apply byte-level BPE tokenizers
    data.pack          documents -> tokenised webdataset shards + index (`polytrain pack`)
    data.index         the binary index beside a tar: keys, offsets, sizes, lengths, checksum
    data.shards        positioned reads from indexed tars
    data.sources       `Source`: `len(source)` and `source[index] -> Sample`; options by `kind:`
    data.windows       training sequences: windows over the concatenated documents of a shard
    data.priors        synthetic tasks: sources that compute their samples
    data.permutation   a keyed permutation of range(n) in O(1) memory
    data.order         position -> (epoch, index)
    data.mixture       several sources in exact proportions, curricula
    data.batches       how a global batch is cut into ranks and micro-batches
    data.ahead         an iterator, run ahead in a thread
    data.loader        batches for one rank, from a given step on
"""

__all__ = [
    "ahead",
    "batches",
    "documents",
    "index",
    "loader",
    "mixture",
    "order",
    "pack",
    "permutation",
    "priors",
    "shards",
    "sources",
    "tokenizer",
    "windows",
]
