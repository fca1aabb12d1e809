"""Corpora of any modality -> webdataset shards and their indexes (`polytrain pack`).

Belongs here: what lists and encodes the examples of a corpus, and the driver that writes them. A packer
knows nothing about shards, the driver nothing about modalities.

    data.packing.record              `Item`, `Record`, `Packer`: what a packer gives to the driver
    data.packing.driver              splits, shards, index, restart
    data.packing.encoding            worker processes that encode
    data.packing.packages            corpora that are packages of public registries
    data.packing.registries          fetching from apt, the Python package index, npm
    data.packing.archives            unpacking what was fetched
    data.packing.split               on which side of the train/validation split an example falls
    data.packing.options             options of every packer
    data.packing.catalogue           public data sets by name
    data.packing.kinds               all kinds of corpora
    data.packing.documents           where text comes from: the standard library, folders, JSON lines
    data.packing.text                documents -> tokens (its options: text_options)
    data.packing.files               files that belong together (files_options)
    data.packing.source              the samples of any source (source_options)
    data.packing.images              images of any corpus below -> records
    data.packing.images_options      its options
    data.packing.image_corpus        `ImageCorpus`: where images come from; splits that a corpus brings along
    data.packing.image_folder        folders of images
    data.packing.image_arrays        rows of arrays as images
    data.packing.image_array_files   the files that hold them: idx, .npz, .npy, .csv
    data.packing.image_font          colour bitmap fonts
    data.packing.tables_options      options of the three packers below
    data.packing.tables              tables -> chunks of rows and a schema
    data.packing.series              sets of time series -> one sample per series
    data.packing.arrays              numeric arrays side by side -> one sample per entry
    data.packing.audio               folders of recordings
    data.packing.transcripts         what is said in recordings: sidecars, lists, tables
    data.packing.readers             readers of these formats
"""

__all__ = [
    "archives",
    "arrays",
    "audio",
    "audio_options",
    "catalogue",
    "documents",
    "driver",
    "encoding",
    "files",
    "files_options",
    "image_array_files",
    "image_arrays",
    "image_corpus",
    "image_folder",
    "image_font",
    "images",
    "images_options",
    "kinds",
    "options",
    "packages",
    "readers",
    "record",
    "registries",
    "series",
    "source",
    "source_options",
    "split",
    "tables",
    "tables_options",
    "text",
    "text_options",
    "transcripts",
]
