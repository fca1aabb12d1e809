"""Options of `polytrain pack audio`."""

from __future__ import annotations

import re
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from data.packing.options import PackOptions

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3")
"What recordings are recognised by, in either case."


class AudioPackOptions(PackOptions):
    """Recordings: a folder of wav, flac, ogg and mp3 files, with transcripts or labels."""

    kind: Literal["audio"] = "audio"
    transcripts: str | None = None
    "sidecar (NAME.txt beside each file), librispeech (*.trans.txt in the folder), or a table: FILE.csv|tsv|jsonl."
    file_column: str = "file"
    "Column of the table that names the file: its path in the folder, with or without extension."
    text_column: str = "text"
    "Column of the table that holds the transcript."
    labels: str | None = None
    "folders (the first folder of the path is the class), or a regular expression: its first group, found in the path."
    encode: Literal["keep", "flac", "wav16"] = "keep"
    "keep the files as they are; or write flac (16 bits; 24 where the file has more) or wav of 16 bits."
    sample_rate: int | None = Field(default=None, ge=1000, le=768_000)
    "Resample to this rate, in Hz (with encode flac or wav16)."
    mono: bool = True
    "Average the channels (with encode flac or wav16)."
    min_seconds: float = Field(default=0.0, ge=0)
    "Shorter recordings are left out, and counted."
    max_seconds: float | None = Field(default=None, gt=0)
    "Longer recordings are left out, and counted."
    cut_seconds: float | None = Field(default=None, gt=0)
    "Cut recordings into consecutive pieces of this length; the last one of each may be shorter."
    group_pattern: str | None = None
    "Regular expression found in the path; files with the same first group (a speaker) are never split."

    builds: ClassVar[str] = "data.packing.audio.packer:AudioPacker"

    @model_validator(mode="after")
    def _check_encoding(self) -> Self:
        if self.encode == "keep" and self.sample_rate is not None:
            raise ValueError("sample_rate needs encode flac or wav16: files that are kept are not resampled")
        if self.encode == "keep" and self.cut_seconds is not None:
            raise ValueError("cut_seconds needs encode flac or wav16: files that are kept are not cut")
        return self

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        if self.max_seconds is not None and self.max_seconds < self.min_seconds:
            raise ValueError(f"max_seconds {self.max_seconds} is below min_seconds {self.min_seconds}")
        if self.cut_seconds is not None and self.transcripts is not None:
            raise ValueError("cut_seconds would separate the recordings from their transcripts; drop one of the two")
        return self

    @model_validator(mode="after")
    def _check_patterns(self) -> Self:
        for name in ("labels", "group_pattern"):
            pattern = getattr(self, name)
            if pattern is None or (name, pattern) == ("labels", "folders"):
                continue
            try:
                num_groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"{name} '{pattern}' is not a regular expression: {error}") from None
            if not num_groups:
                raise ValueError(f"{name} '{pattern}' has no group: put what matters into parentheses")
        return self
