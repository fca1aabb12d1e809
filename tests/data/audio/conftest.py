"""Small recordings, as arrays and as files of every format."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import soundfile

from data.sample import Sample

FORMATS = {
    "wav": {"format": "WAV", "subtype": "PCM_16"},
    "flac": {"format": "FLAC", "subtype": "PCM_16"},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {"format": "MP3", "subtype": "MPEG_LAYER_III"},
}

Encode = Callable[..., bytes]


def tone(frames: int = 16_000, rate: int = 16_000, seed: int = 0) -> np.ndarray:
    """A chirp with a little noise: [frames] float32."""
    time = np.arange(frames) / rate
    noise = 0.02 * np.random.default_rng(seed).standard_normal(frames)
    return (0.4 * np.sin(2 * np.pi * (300 + 400 * time) * time) + noise).astype(np.float32)


def sample_of(waveform: np.ndarray, rate: int = 16_000, length: int | None = None) -> Sample:
    """A sample as the decoder makes it; with `length`, as a crop makes it."""
    sample: Sample = {"waveform": waveform, "sample_rate": np.array(rate)}
    return sample if length is None else sample | {"length": np.array(length)}


@pytest.fixture(scope="session")
def encoded() -> Encode:
    """Encode a waveform [T] or [T, channels] in one of FORMATS."""

    def encode(name: str, waveform: np.ndarray | None = None, rate: int = 16_000, **changes: str) -> bytes:
        stream = io.BytesIO()
        soundfile.write(stream, tone() if waveform is None else waveform, rate, **FORMATS[name] | changes)
        return stream.getvalue()

    return encode


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(7)
