"""Sharded data whose order is a pure function of (seed, position).

Belongs here: documents and corpora, tokenizers, shards and their index, sources, the order in which
samples are drawn, how a global batch is cut up, and the loader. Position is the only state: nothing
here remembers what it has already produced.

Does not belong here: anything that imports `model` or `train`; process groups (ranks and world
sizes arrive as plain numbers).

    data.packing       corpora of any modality -> webdataset shards + index (`polytrain pack`)
    data.index         the binary index beside a tar: keys, offsets, sizes, lengths, checksum
    data.shard_names   how shards are named in recipes
    data.storage       who opens shards; positioned reads of local files
    data.remote        positioned reads behind URLs (http, s3, gs, ...)
    data.cache         whole shards, copied to a local disk and evicted when it is full
    data.shards        positioned reads from indexed tars
    data.sample        `Sample`, `Source`, `Transform`: the protocols
    data.samples       the members of indexed shards, decoded
    data.arrays        .npy files -> arrays
    data.processes     what every process of ours does at its start
    data.decoding      members -> fields, by extension
    data.transforms    a source and the transforms applied to its samples
    data.randomness    random streams by name
    data.reading       samples by index; what happens to damaged ones
    data.statistics    what shards hold, from their indexes
    data.describe      samples as text for people
    data.sources       options of all sources, put together
    data.text          tokenizers and training sequences
    data.images        decoding and transforms of images
    data.audio         decoding and transforms of audio
    data.tables        tables and time series
    data.priors        synthetic tasks: sources that compute their samples
    data.permutation   a keyed permutation of range(n) in O(1) memory
    data.order         position -> (epoch, index)
    data.order_options shuffled fully, in windows or not at all; how many epochs at most
    data.hugging_face  data sets of the Hugging Face `datasets` library
    data.in_memory     samples that a program holds already
    data.mixture       several sources in exact proportions, curricula
    data.batches       how a global batch is cut into ranks and micro-batches
    data.ahead         an iterator, run ahead in a thread
    data.loader        batches for one rank, from a given step on
"""

__all__ = [
    "ahead",
    "arrays",
    "audio",
    "batches",
    "cache",
    "decoding",
    "describe",
    "hugging_face",
    "images",
    "in_memory",
    "index",
    "loader",
    "mixture",
    "order",
    "order_options",
    "packing",
    "permutation",
    "priors",
    "processes",
    "randomness",
    "reading",
    "remote",
    "sample",
    "samples",
    "shard_names",
    "shards",
    "sources",
    "statistics",
    "storage",
    "tables",
    "text",
    "transforms",
]
