"""A folder of recordings -> one sample each: the audio, its transcript or label, and `json`.

    polytrain pack audio LibriSpeech/dev-clean shards/speech --transcripts librispeech --group-pattern '^([0-9]+)/'

    KEY.flac|wav|ogg|mp3    the recording, as it was or converted
    KEY.txt                 its transcript
    KEY.cls                 the number of its class; the names are in corpus.json
    KEY.json                {"name", "frames", "sample_rate", "seconds"}

Every file is decoded to its end before it is packed.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import soundfile  # type: ignore[import-untyped]
from pydantic import JsonValue

from configs.errors import DataError
from data.audio.decode import AudioInfo, audio_info, decode_audio, verify_audio
from data.audio.options import ResampleOptions
from data.audio.truncation import check_complete
from data.packing.audio.options import SUFFIXES, AudioPackOptions
from data.packing.audio.transcripts import key_of, read_transcripts
from data.packing.record import Item, Member, Packer, Record
from data.sample import SampleError

_KEPT = ("wav", "flac", "ogg", "mp3")


@dataclass(frozen=True)
class Clip:
    """A recording, or a piece of one."""

    path: Path
    start: int = 0
    "Its first frame."
    stop: int | None = None
    "The frame behind its last; None is the end of the file."
    text: str | None = None
    label: int | None = None


class AudioPacker(Packer[Clip]):
    """Packs the recordings of a folder."""

    def __init__(self, options: AudioPackOptions, location: str | Path) -> None:
        self._options = options
        self._root = Path(location)

    def items(self) -> Iterator[Item[Clip]]:
        """The recordings by path; pieces of one follow each other."""
        yield from self._listing[0]

    def facts(self) -> dict[str, JsonValue]:
        """Names of the classes; how many recordings were left out because of their length."""
        left_out = {name: count for name, count in self._listing[1].items() if count}
        facts: dict[str, JsonValue] = {"classes": list(self._classes)} if self._options.labels else {}
        return facts | ({"left_out": {**left_out}} if left_out else {})

    def encode(self, item: Item[Clip]) -> Record:
        """Decode a recording to its end, and convert it where that was asked for."""
        try:
            extension, content, frames, rate = self._encoded(item.content)
            text = self._text(item.content)
        except (ValueError, OSError, soundfile.LibsndfileError) as error:
            raise SampleError(f"{item.content.path}: {error}") from None
        about: dict[str, JsonValue] = {
            "name": item.name,
            "frames": frames,
            "sample_rate": rate,
            "seconds": round(frames / rate, 6),
        }
        optional: dict[str, Member | None] = {"txt": text, "cls": item.content.label}
        members = {name: value for name, value in optional.items() if value is not None}
        return Record({extension: content, **members, "json": about}, length=frames)

    def __getstate__(self) -> dict[str, object]:
        """Workers get clips one by one, not the list of all."""
        return {"_options": self._options, "_root": self._root}

    def _encoded(self, clip: Clip) -> tuple[str, bytes, int, int]:
        """Extension, content, frames, sample rate."""
        options = self._options
        if options.encode == "keep":
            content = clip.path.read_bytes()
            info = verify_audio(content)
            if info.format not in _KEPT:
                raise ValueError(f"is {info.format}, expected {', '.join(_KEPT)}; convert it with encode flac or wav16")
            return info.format, content, info.frames, info.sample_rate
        info = _header(clip)
        frames = (info.frames if clip.stop is None else clip.stop) - clip.start
        waveform, rate = decode_audio(clip.path, start=clip.start, num_frames=frames, mono=options.mono)
        if self._resample is not None and options.sample_rate is not None:
            waveform, rate = self._resample(waveform, rate), options.sample_rate
        container, bits = ("FLAC", info.bits) if options.encode == "flac" else ("WAV", 16)
        stream = io.BytesIO()
        soundfile.write(stream, waveform.T, rate, format=container, subtype=f"PCM_{bits}")
        return container.lower(), stream.getvalue(), waveform.shape[-1], rate

    def _text(self, clip: Clip) -> str | None:
        transcripts = self._options.transcripts
        if transcripts is None:
            return None
        if transcripts == "sidecar":
            return clip.path.with_suffix(".txt").read_text(encoding="utf-8").strip()
        if clip.text is None:
            raise ValueError(f"has no transcript in {transcripts}")
        return clip.text

    @cached_property
    def _resample(self) -> Callable[[np.ndarray, int], np.ndarray] | None:
        """(waveform, its rate) -> the waveform at the rate asked for."""
        if self._options.sample_rate is None:
            return None
        from data.audio.resample import Resample  # imports torch

        return Resample(ResampleOptions(sample_rate=self._options.sample_rate)).resample

    @cached_property
    def _paths(self) -> list[str]:
        """All recordings, by their paths in the folder."""
        if not self._root.is_dir():
            raise DataError(f"{self._root}: no such folder. Expected a folder of recordings ({' '.join(SUFFIXES)}).")
        found = (path for path in self._root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        paths = sorted(path.relative_to(self._root).as_posix() for path in found)
        if not paths:
            raise DataError(f"{self._root}: no recordings found. Expected files that end in {' '.join(SUFFIXES)}.")
        return paths

    @cached_property
    def _classes(self) -> dict[str, int]:
        """The number of each class, by name; in the order of their names."""
        names = {self._class_of(path) for path in self._paths}
        return {name: number for number, name in enumerate(sorted(names))}

    @cached_property
    def _listing(self) -> tuple[list[Item[Clip]], Counter[str]]:
        """All items, and how many recordings (or pieces) were left out, by reason."""
        texts = read_transcripts(self._options, self._root)
        items: list[Item[Clip]] = []
        left_out: Counter[str] = Counter()
        for path in self._paths:
            for start, stop in self._ranges(path, left_out):
                label = self._classes[self._class_of(path)] if self._options.labels else None
                clip = Clip(self._root / path, start, stop, texts.get(key_of(path)), label)
                name = path if stop is None else f"{path}:{start}-{stop}"
                items.append(Item(name, self._group_of(path), clip))
        return items, left_out

    def _ranges(self, path: str, left_out: Counter[str]) -> list[tuple[int, int | None]]:
        """The frames of each clip of a file: all of it, its pieces, or nothing where the length is not wanted."""
        options = self._options
        if not (options.min_seconds or options.max_seconds or options.cut_seconds):
            return [(0, None)]
        try:
            info = audio_info(self._root / path)
        except ValueError:
            return [(0, None)]  # damaged: encode says so, and the driver counts it
        if options.max_seconds is not None and info.seconds > options.max_seconds:
            left_out["longer than max_seconds"] += 1
            return []
        if options.cut_seconds is None:
            ranges: list[tuple[int, int | None]] = [(0, None)]
            lengths = [info.frames]
        else:
            size = max(1, round(options.cut_seconds * info.sample_rate))
            pieces = [(start, min(start + size, info.frames)) for start in range(0, info.frames, size)]
            ranges, lengths = [*pieces], [stop - start for start, stop in pieces]
        least = options.min_seconds * info.sample_rate
        kept = [each for each, length in zip(ranges, lengths, strict=True) if length >= least]
        left_out["shorter than min_seconds"] += len(ranges) - len(kept)
        return kept

    def _class_of(self, path: str) -> str:
        labels = self._options.labels
        assert labels is not None
        if labels == "folders":
            folder, slash, _ = path.partition("/")
            if not slash:
                raise DataError(f"{self._root / path}: lies in no folder that could be its class (labels folders)")
            return folder
        return self._found("labels", labels, path)

    def _group_of(self, path: str) -> str:
        pattern = self._options.group_pattern
        return path if pattern is None else self._found("group_pattern", pattern, path)

    def _found(self, option: str, pattern: str, path: str) -> str:
        match = re.search(pattern, path)
        if match is None or match[1] is None:
            raise DataError(f"{self._root / path}: {option} '{pattern}' is not found in '{path}'")
        return match[1]


def _header(clip: Clip) -> AudioInfo:
    """The header of a file that is all there."""
    with clip.path.open("rb") as stream:
        check_complete(stream)
    return audio_info(clip.path)
