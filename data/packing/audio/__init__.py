"""Recordings -> records of audio files, transcripts, classes.

data.packing.audio.packer        recordings -> records
data.packing.audio.options       its options
data.packing.audio.transcripts   where transcripts come from: files beside, tables, LibriSpeech's lists
"""

__all__ = ["options", "packer", "transcripts"]
