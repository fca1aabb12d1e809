"""Log mel spectrograms, equal to those that published models were trained on."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from data.audio.fields import FloatArray, num_real, scalar, waveform_of
from data.audio.options import LogMelOptions
from data.sample import Sample, SampleError

_PREEMPHASIS = np.float32(0.97)  # Kaldi's
_POVEY_POWER = 0.85
_LEAST_ENERGY = np.float32(1e-10)
_LEAST_ENERGY_KALDI = np.finfo(np.float32).eps


class LogMel:
    """A `Transform` that replaces `waveform` by `spectrogram`."""

    def __init__(self, options: LogMelOptions) -> None:
        self._options = options
        self._is_kaldi = options.convention == "kaldi"
        self._window = _window(options)
        self._bands = _kaldi_bands(options) if self._is_kaldi else _triangles(options)

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        rate = int(sample["sample_rate"])
        if rate != self._options.sample_rate:
            raise SampleError(
                f"sample rate {rate}, expected {self._options.sample_rate}: put the transform resample before log_mel"
            )
        spectrogram = self.spectrogram(waveform_of(sample))
        num_frames = min(len(spectrogram), self._num_frames(num_real(sample, "waveform")))
        others = sample if self._options.keep_waveform else _without(sample, "waveform", "length")
        return others | {"spectrogram": spectrogram, "num_frames": scalar(num_frames)}

    def spectrogram(self, waveform: FloatArray) -> FloatArray:
        """[N] -> [T, F]; see the options for T.

        Raises:
            SampleError: when the waveform is shorter than half a frame (kaldi: a frame).
        """
        least = self._options.window if self._is_kaldi else self._options.fft_points // 2 + 1
        if len(waveform) < least:
            raise SampleError(f"waveform of {len(waveform)} samples, expected at least {least}")
        frames = self._kaldi_frames(waveform) if self._is_kaldi else self._frames(waveform)
        spectrogram = _fitted(self._compressed(self._energy(frames)), self._options.frames)
        normal: FloatArray = (spectrogram - np.float32(self._options.mean)) / np.float32(self._options.std)
        return normal

    def _num_frames(self, length: int) -> int:
        """Frames before the padding, of a waveform with `length` samples before its padding."""
        hop = self._options.hop
        if self._is_kaldi:
            return max(0, 1 + (length - self._options.window) // hop)
        return -(-length // hop)  # those whose centre is no padding

    def _frames(self, waveform: FloatArray) -> FloatArray:
        """[T, window], not yet multiplied by the window function."""
        options = self._options
        half = options.fft_points // 2
        # A window narrower than the transform stands in its middle.
        inset = (options.fft_points - options.window) // 2
        num_frames = len(waveform) // options.hop + (options.convention != "whisper")
        padded = np.pad(waveform, half, mode="reflect")
        frames: FloatArray = sliding_window_view(padded, options.fft_points)[:: options.hop]
        return frames[:num_frames, inset : inset + options.window]

    def _kaldi_frames(self, waveform: FloatArray) -> FloatArray:
        """[T, window], each without its mean and with its high frequencies raised."""
        frames: FloatArray = sliding_window_view(waveform, self._options.window)[:: self._options.hop]
        frames = frames - frames.mean(axis=1, keepdims=True)
        before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
        return np.subtract(frames, _PREEMPHASIS * before, dtype=np.float32)

    def _energy(self, frames: FloatArray) -> FloatArray:
        """[T, window] -> [T, F]. Where in the transform a window stands changes the phase only.

        By torch, which keeps to one thread in worker processes; the threads of numpy's BLAS would compete there.
        """
        spectrum = torch.fft.rfft(torch.from_numpy(frames * self._window), n=self._options.fft_points)
        energy_TF = (spectrum.real.square() + spectrum.imag.square()) @ self._bands
        return cast(NDArray[np.float32], energy_TF.numpy())

    def _compressed(self, energy: FloatArray) -> FloatArray:
        if self._is_kaldi:
            return np.log(np.maximum(energy, _LEAST_ENERGY_KALDI))
        if self._options.convention != "whisper":
            return np.log(np.maximum(energy, _LEAST_ENERGY))
        decades = np.log10(np.maximum(energy, _LEAST_ENERGY))
        scaled: FloatArray = (np.maximum(decades, decades.max() - np.float32(8)) + np.float32(4)) / np.float32(4)
        return scaled


def _window(options: LogMelOptions) -> FloatArray:
    """[window]. Kaldi's windows end in zeros; the others are one period of a cosine."""
    angle = 2 * np.pi * np.arange(options.window) / (options.window - (options.convention == "kaldi"))
    hann = 0.5 - 0.5 * np.cos(angle)
    povey = options.window_function != "hann" and options.convention == "kaldi"
    return (hann**_POVEY_POWER if povey else hann).astype(np.float32)


def _triangles(options: LogMelOptions) -> Tensor:
    """[n_fft / 2 + 1, F]: triangles over Hz; those on Slaney's scale are of equal area, HTK's of equal height."""
    from torchaudio.functional import melscale_fbanks  # type: ignore[import-untyped]

    slaney = options.convention != "htk"
    bands: Tensor = melscale_fbanks(
        options.fft_points // 2 + 1,
        options.lowest,
        options.highest,
        options.n_mels,
        options.sample_rate,
        norm="slaney" if slaney else None,
        mel_scale="slaney" if slaney else "htk",
    )
    return bands


def _kaldi_bands(options: LogMelOptions) -> Tensor:
    """[n_fft / 2 + 1, F]: triangles over mel; the highest frequency is in no band."""
    from torchaudio.compliance.kaldi import get_mel_banks  # type: ignore[import-untyped]

    bands, _ = get_mel_banks(
        options.n_mels, options.fft_points, options.sample_rate, options.lowest, options.highest, 100.0, -500.0, 1.0
    )
    return torch.nn.functional.pad(bands, (0, 1)).T.contiguous()


def _fitted(spectrogram: FloatArray, frames: int | None) -> FloatArray:
    if frames is None or len(spectrogram) >= frames:
        return spectrogram[:frames]
    return np.pad(spectrogram, ((0, frames - len(spectrogram)), (0, 0)))


def _without(sample: Sample, *names: str) -> Sample:
    return {name: value for name, value in sample.items() if name not in names}
