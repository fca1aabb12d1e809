"""Audio files -> waveforms: wav, flac, ogg (Vorbis, Opus) and mp3, by libsndfile.

Invariant: a range is what one gets by cutting it out of the whole, but hardly more than the range is decoded. (mp3:
up to rounding. Opus: up to about 1e-3, its decoder remembers.) A second out of a minute takes a thirtieth of the time.

Errors are `ValueError` with a short reason. The caller knows the shard and the key, or the path.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile  # type: ignore[import-untyped]
from numpy.typing import NDArray

from data.audio.truncation import check_complete

FloatArray = NDArray[np.float32]

_BLOCK_FRAMES = 1 << 20
_MP3_FRAMES_BEFORE = 8


@dataclass(frozen=True)
class AudioInfo:
    """What the header of a file says."""

    frames: int
    "Samples of each channel."
    sample_rate: int
    "In Hz."
    channels: int
    "1 is mono."
    format: str
    "wav, flac, ogg or mp3; another format of libsndfile by its name (aiff, caf, ...)."
    bits: int
    "Bits of one sample that are worth keeping: 24 where it is stored in more than 16, else 16."

    @property
    def seconds(self) -> float:
        """The duration."""
        return self.frames / self.sample_rate


def audio_info(content: bytes | Path) -> AudioInfo:
    """The header of a file; nothing is decoded.

    Raises:
        ValueError: when it is empty, or not audio.
    """
    with _opened(content) as file:
        return _info_of(file)


def decode_audio(
    content: bytes | Path, *, start: int = 0, num_frames: int | None = None, mono: bool = True
) -> tuple[FloatArray, int]:
    """A waveform, or a range of it, and its sample rate in Hz.

    Args:
        content: a whole file: its bytes, or where it lies.
        start: first frame of the range.
        num_frames: frames of the range; None goes on to the end.
        mono: average the channels.

    Returns:
        [T] float32 where `mono`, else [channels, T]; within [-1, 1] but for formats that may exceed it.

    Raises:
        ValueError: when it is empty, cut short or not audio, or the range reaches beyond its end.
    """
    with _opened(content) as file:
        wanted = file.frames - start if num_frames is None else num_frames
        if start < 0 or wanted <= 0 or start + wanted > file.frames:
            raise ValueError(f"frames {start} to {start + wanted} of a recording of {file.frames} frames")
        # An mp3 frame borrows bits from earlier ones: what is decoded right behind a jump may be wrong.
        early = min(start, _MP3_FRAMES_BEFORE * 1152) if file.format == "MP3" else 0
        if start:
            file.seek(start - early)
        waveform_TC = _read(file, early + wanted)[early:]
        rate = int(file.samplerate)
    if len(waveform_TC) < wanted:
        raise ValueError(f"cut short: {start + len(waveform_TC)} of {start + wanted} frames can be decoded")
    if not mono:
        return np.ascontiguousarray(waveform_TC.T), rate
    return waveform_TC[:, 0] if waveform_TC.shape[1] == 1 else waveform_TC.mean(axis=1, dtype=np.float32), rate


def verify_audio(content: bytes | Path) -> AudioInfo:
    """Decode a file to its end, block by block, and forget it.

    Raises:
        ValueError: when it is empty, cut short, not audio, or holds values that are not finite.
    """
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as stream:
        check_complete(stream)
    with _opened(content) as file:
        info, decoded = _info_of(file), 0
        while len(block := _read(file, _BLOCK_FRAMES)):
            decoded += len(block)
    if decoded < info.frames:
        raise ValueError(f"cut short: {decoded} of {info.frames} frames can be decoded")
    return info


def _info_of(file: soundfile.SoundFile) -> AudioInfo:
    name = {"WAVEX": "wav", "RF64": "wav"}.get(file.format, file.format.lower())
    bits = 24 if file.subtype in ("PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_24", "ALAC_32") else 16
    return AudioInfo(int(file.frames), int(file.samplerate), int(file.channels), name, bits)


def _read(file: soundfile.SoundFile, frames: int) -> FloatArray:
    """The next frames [T, channels]; fewer at the end."""
    block_TC: FloatArray = file.read(frames, dtype="float32", always_2d=True)
    if not np.isfinite(block_TC).all():
        raise ValueError("holds values that are not finite")
    return block_TC


@contextmanager
def _opened(content: bytes | Path) -> Iterator[soundfile.SoundFile]:
    """The open file, which has frames; what libsndfile raises, as ValueError."""
    try:
        with soundfile.SoundFile(io.BytesIO(content) if isinstance(content, bytes) else str(content)) as file:
            if file.frames <= 0:
                raise ValueError("empty: no frames")
            yield file
    except soundfile.LibsndfileError as error:
        raise ValueError(f"cannot be decoded as audio: {error.error_string.strip().rstrip('.')}") from None
    except MemoryError:  # a damaged header can promise anything
        raise ValueError("too long: its frames do not fit into memory") from None
