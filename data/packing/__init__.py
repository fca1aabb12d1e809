"""Corpora of any modality -> webdataset shards and their indexes (`polytrain pack`).

Belongs here: what lists and encodes the examples of a corpus, and the driver that writes them. A packer
knows nothing about shards, the driver nothing about modalities.

    data.packing.record      `Item`, `Record`, `Packer`: what a packer gives to the driver
    data.packing.options     options of every packer
    data.packing.documents   where text comes from: the standard library, folders, JSON lines
    data.packing.text        documents -> tokens

    data.packing.images             images of any corpus below -> records
    data.packing.images_options     its options
    data.packing.image_corpus       `ImageCorpus`: where images come from; splits that a corpus brings along
    data.packing.image_folder       folders of images
    data.packing.image_arrays       rows of arrays as images
    data.packing.image_array_files  the files that hold them: idx, .npz, .npy, .csv
    data.packing.image_font         colour bitmap fonts
"""

__all__ = [
    "documents",
    "image_array_files",
    "image_arrays",
    "image_corpus",
    "image_folder",
    "image_font",
    "images",
    "images_options",
    "options",
    "record",
    "text",
]
