"""The fields that audio transforms read, checked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data.sample import Sample, SampleError

FloatArray = NDArray[np.float32]


def waveform_of(sample: Sample) -> FloatArray:
    """The field `waveform` [T].

    Raises:
        SampleError: when it is empty, or not one channel of floats.
    """
    waveform = sample["waveform"]
    if waveform.ndim != 1 or waveform.dtype.kind != "f":
        raise SampleError(f"waveform is {waveform.dtype} {list(waveform.shape)}, expected one channel of floats [T]")
    if not len(waveform):
        raise SampleError("waveform is empty")
    return waveform.astype(np.float32, copy=False)


def spectrogram_of(sample: Sample) -> FloatArray:
    """The field `spectrogram` [T, F].

    Raises:
        SampleError: when it is empty, or not frames of bands.
    """
    spectrogram = sample["spectrogram"]
    if spectrogram.ndim != 2 or spectrogram.dtype.kind != "f" or not spectrogram.size:
        found = f"{spectrogram.dtype} {list(spectrogram.shape)}"
        raise SampleError(f"spectrogram is {found}, expected floats [T, F], none of them 0")
    return spectrogram.astype(np.float32, copy=False)


def num_real(sample: Sample, field: str) -> int:
    """Samples of `waveform`, or frames of `spectrogram`, before the padding."""
    counted_by = {"waveform": "length", "spectrogram": "num_frames"}[field]
    return int(sample[counted_by]) if counted_by in sample else len(sample[field])


def scalar(value: int) -> NDArray[np.int64]:
    """A field [] int64."""
    return np.array(value, dtype=np.int64)
