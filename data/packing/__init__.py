"""Corpora of any modality -> webdataset shards and their indexes (`polytrain pack`).

Belongs here: what lists and encodes the examples of a corpus, and the driver that writes them. A packer
knows nothing about shards, the driver nothing about modalities.

    data.packing.record      `Item`, `Record`, `Packer`: what a packer gives to the driver
    data.packing.options     options of every packer
    data.packing.documents   where text comes from: the standard library, folders, JSON lines
    data.packing.text        documents -> tokens
    data.packing.audio       folders of recordings
    data.packing.audio_options
    data.packing.transcripts  what is said in recordings: sidecars, lists, tables
"""

__all__ = ["audio", "audio_options", "documents", "options", "record", "text", "transcripts"]
