"""Corpora of any modality -> webdataset shards and their indexes (`polytrain pack`).

Belongs here: what lists and encodes the examples of a corpus, and the driver that writes them. A packer
knows nothing about shards, the driver nothing about modalities.

    data.packing.record      `Item`, `Record`, `Packer`: what a packer gives to the driver
    data.packing.options     options of every packer
    data.packing.documents   where text comes from: the standard library, folders, JSON lines
    data.packing.text        documents -> tokens
    data.packing.tables_options  options of the three packers below
    data.packing.tables      tables -> chunks of rows and a schema
    data.packing.series      sets of time series -> one sample per series
    data.packing.arrays      numeric arrays side by side -> one sample per entry
"""

__all__ = ["arrays", "documents", "options", "record", "series", "tables", "tables_options", "text"]
