"""SpecAugment (Park et al. 2019, "A Simple Data Augmentation Method for ASR", section 2), without time warping."""

from __future__ import annotations

import numpy as np

from data.audio.fields import num_real, spectrogram_of
from data.audio.options import SpecAugmentOptions
from data.sample import Sample


class SpecAugment:
    """A `Transform` that writes one value over random bands and over random frames of `spectrogram`."""

    def __init__(self, options: SpecAugmentOptions) -> None:
        self._options = options

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        options = self._options
        spectrogram = spectrogram_of(sample).copy()
        real = spectrogram[: num_real(sample, "spectrogram")]
        frames, bands = real.shape
        value = float(real.mean()) if options.value == "mean" else options.value
        for _ in range(options.freq_masks):
            real[:, _interval(options.freq_width, bands, generator)] = value
        for _ in range(options.time_masks):
            real[_interval(min(options.time_width, int(options.time_share * frames)), frames, generator)] = value
        return sample | {"spectrogram": spectrogram}


def _interval(greatest: int, size: int, generator: np.random.Generator) -> slice:
    """A width uniform on 0..greatest, then a place uniform on where it fits into `size`."""
    width = int(generator.integers(min(greatest, size), endpoint=True))
    start = int(generator.integers(size - width, endpoint=True))
    return slice(start, start + width)
