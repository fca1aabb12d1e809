"""Corpora of any modality -> webdataset shards and their indexes (`polytrain pack`).

Belongs here: what lists and encodes the examples of a corpus, and the driver that writes them. A packer
knows nothing about shards, the driver nothing about modalities.

    data.packing.record      `Item`, `Record`, `Packer`: what a packer gives to the driver
    data.packing.driver      splits, shards, index, restart
    data.packing.encoding    worker processes that encode
    data.packing.packages    corpora that are packages of public registries
    data.packing.options     options of every packer
    data.packing.kinds       all kinds of corpora
    data.packing.documents   where text comes from: the standard library, folders, JSON lines
    data.packing.text        documents -> tokens (its options: text_options)
    data.packing.source      the samples of any source (source_options)
"""

__all__ = [
    "documents",
    "driver",
    "encoding",
    "kinds",
    "options",
    "packages",
    "record",
    "source",
    "source_options",
    "text",
    "text_options",
]
