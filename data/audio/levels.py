"""Loudness: gain, normalisation, noise. Padding stays zero."""

from __future__ import annotations

import numpy as np

from data.audio.fields import FloatArray, num_real, waveform_of
from data.audio.options import AddNoiseOptions, GainOptions, NormalizeAudioOptions
from data.sample import Sample

_LEAST_VARIANCE = 1e-7  # as in wav2vec 2.0: silence stays finite


class Gain:
    """A `Transform` that multiplies `waveform` by a random factor, uniform in dB."""

    def __init__(self, options: GainOptions) -> None:
        self._options = options

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        gain_db = generator.uniform(self._options.min_db, self._options.max_db)
        return sample | {"waveform": waveform_of(sample) * np.float32(10 ** (gain_db / 20))}


class NormalizeAudio:
    """A `Transform` that gives `waveform` zero mean and unit variance."""

    def __init__(self, options: NormalizeAudioOptions) -> None:
        pass

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        real = waveform_of(sample)[: num_real(sample, "waveform")].astype(np.float64)
        normal = (real - real.mean()) / np.sqrt(real.var() + _LEAST_VARIANCE)
        return sample | {"waveform": _padded_like(sample, normal.astype(np.float32))}


class AddNoise:
    """A `Transform` that adds Gaussian noise of equal power at all frequencies."""

    def __init__(self, options: AddNoiseOptions) -> None:
        self._options = options

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        real = waveform_of(sample)[: num_real(sample, "waveform")]
        if generator.random() >= self._options.probability:
            return sample
        snr_db = generator.uniform(self._options.min_snr_db, self._options.max_snr_db)
        power = np.square(real, dtype=np.float64).mean() / 10 ** (snr_db / 10)
        noise = generator.standard_normal(len(real), dtype=np.float32) * np.float32(np.sqrt(power))
        return sample | {"waveform": _padded_like(sample, real + noise)}


def _padded_like(sample: Sample, real: FloatArray) -> FloatArray:
    """`real` with zeros behind it, as long as the waveform of `sample`."""
    return np.pad(real, (0, len(sample["waveform"]) - len(real)))
