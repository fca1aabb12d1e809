"""Crops of waveforms to a fixed length, decoded already or not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from data.audio.decode import audio_info, decode_audio
from data.audio.fields import FloatArray, num_real, scalar, waveform_of
from data.audio.options import CropAudioOptions, CropOptions, DecodeCropOptions
from data.sample import Sample, SampleError


class CropAudio:
    """A `Transform` that crops `waveform`, or pads it, to a fixed length."""

    def __init__(self, options: CropAudioOptions) -> None:
        self._options = options

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        real = waveform_of(sample)[: num_real(sample, "waveform")]
        size = _size(self._options, lambda: int(sample["sample_rate"]))
        start = _start(self._options, len(real), size, generator)
        waveform, length = _filled(self._options, real[start : start + size], size)
        return sample | {"waveform": waveform, "length": scalar(length)}


class DecodeCrop:
    """A `Transform` that decodes a crop of a file; equal to decoding all of it, then `CropAudio`."""

    def __init__(self, options: DecodeCropOptions) -> None:
        self._options = options

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        content = sample[self._options.field].tobytes()
        try:
            info = audio_info(content)
            size = _size(self._options, lambda: info.sample_rate)
            start = _start(self._options, info.frames, size, generator)
            part, rate = decode_audio(content, start=start, num_frames=min(size, info.frames))
        except SampleError:
            raise
        except ValueError as error:
            raise SampleError(f"{self._options.field}: {error}") from None
        waveform, length = _filled(self._options, part, size)
        others = {name: value for name, value in sample.items() if name != self._options.field}
        return others | {"waveform": waveform, "sample_rate": scalar(rate), "length": scalar(length)}


def _size(options: CropOptions, rate: Callable[[], int]) -> int:
    """Samples of the crop; only a length in seconds needs the rate."""
    return options.samples or max(1, round((options.seconds or 0.0) * rate()))


def _start(options: CropOptions, length: int, size: int, generator: np.random.Generator) -> int:
    if length < size and options.shorter == "refuse":
        raise SampleError(f"{length} samples, expected at least {size}; set 'shorter' to zeros or repeat")
    room = max(0, length - size)
    if options.at == "random":
        return int(generator.integers(room, endpoint=True))
    return room // 2 if options.at == "center" else 0


def _filled(options: CropOptions, part: FloatArray, size: int) -> tuple[FloatArray, int]:
    """`part` made `size` long, and how many of its samples are no padding."""
    if len(part) == size:
        return part, size
    if options.shorter == "repeat":
        return np.resize(part, size), size
    return np.pad(part, (0, size - len(part))), len(part)
