"""Corpora of any modality -> webdataset shards and their indexes (`polytrain pack`).

Belongs here: what lists and encodes the examples of a corpus, and the driver that writes them. A packer
knows nothing about shards, the driver nothing about modalities.

    data.packing.record      `Item`, `Record`, `Packer`: what a packer gives to the driver
    data.packing.options     options of every packer
    data.packing.documents   where text comes from: folders, files of many formats, the standard library
    data.packing.readers     readers of these formats
    data.packing.text        documents -> tokens
"""

__all__ = ["documents", "options", "readers", "record", "text"]
