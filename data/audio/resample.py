"""Another sample rate."""

from __future__ import annotations

import numpy as np
import torch
from torchaudio.transforms import Resample as SincResampler  # type: ignore[import-untyped]

from data.audio.fields import num_real, scalar, waveform_of
from data.audio.options import ResampleOptions
from data.sample import Sample


class Resample:
    """A `Transform` that resamples `waveform` and adapts `sample_rate` and `length`."""

    def __init__(self, options: ResampleOptions) -> None:
        self._rate = options.sample_rate
        # Kernels by the rate of the sample: computing one takes longer than applying it.
        self._resamplers: dict[int, SincResampler] = {}

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        waveform, rate = waveform_of(sample), int(sample["sample_rate"])
        if rate == self._rate:
            return sample
        changed = sample | {"waveform": self.resample(waveform, rate), "sample_rate": scalar(self._rate)}
        if "length" in sample:
            changed["length"] = scalar(-(-num_real(sample, "waveform") * self._rate // rate))
        return changed

    def resample(self, waveform: np.ndarray, rate: int) -> np.ndarray:
        """[..., T] at `rate` Hz -> [..., ceil(T * new / rate)] float32."""
        if rate not in self._resamplers:
            self._resamplers[rate] = SincResampler(rate, self._rate)
        with torch.no_grad():
            resampled: np.ndarray = self._resamplers[rate](torch.tensor(waveform)).numpy()
        return resampled
