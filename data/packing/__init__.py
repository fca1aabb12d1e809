"""Corpora of any modality -> webdataset shards and their indexes (`polytrain pack`).

Belongs here: what lists and encodes the examples of a corpus, and the driver that writes them. A packer
knows nothing about shards, the driver nothing about modalities.

    data.packing.record        `Item`, `Record`, `Packer`: what a packer gives to the driver
    data.packing.driver        splits, shards, index, restart
    data.packing.encoding      worker processes that encode
    data.packing.split         on which side of the train/validation split an example falls
    data.packing.options       options of every packer
    data.packing.kinds         all kinds of corpora
    data.packing.text          documents of any format -> tokens
    data.packing.images        folders, arrays and fonts of images
    data.packing.audio         recordings and their transcripts
    data.packing.tables        tables, time series, arrays
    data.packing.grouped_files files that belong together (grouped_files_options)
    data.packing.any_source    the samples of any source (any_source_options)
    data.packing.catalogue     datasets.yaml: public data sets by name
    data.packing.packages      corpora that are packages of public registries
    data.packing.registries    fetching by apt-get, npm and pip
    data.packing.archives      unpacking what was fetched
"""

__all__ = [
    "any_source",
    "any_source_options",
    "archives",
    "audio",
    "catalogue",
    "driver",
    "encoding",
    "grouped_files",
    "grouped_files_options",
    "images",
    "kinds",
    "options",
    "packages",
    "record",
    "registries",
    "split",
    "tables",
    "text",
]
