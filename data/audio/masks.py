"""Which frames or patches a model does not see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data.audio.fields import num_real, spectrogram_of, waveform_of
from data.audio.options import SpanMaskOptions, SpectrogramPatchMaskOptions
from data.sample import Sample, SampleError

Mask = NDArray[np.bool_]


def num_frames_after(length: int, convolutions: Sequence[tuple[int, int]]) -> int:
    """Frames that a stack of (kernel, stride) convolutions without padding makes of `length` inputs."""
    for kernel, stride in convolutions:
        length = (length - kernel) // stride + 1 if length >= kernel else 0
    return length


def span_mask(frames: int, p: float, span: int, min_spans: int, generator: np.random.Generator) -> Mask:
    """A mask [frames] of spans that may overlap; about p * frames of them (Baevski et al. 2020, section 3.1)."""
    num_starts = frames - span + 1
    num_spans = min(max(int(p * frames + generator.random()), min_spans), num_starts)
    starts = generator.choice(num_starts, num_spans, replace=False)
    mask = np.zeros(frames, dtype=np.bool_)
    mask[(starts[:, None] + np.arange(span)).reshape(-1)] = True
    return mask


def exact_span_mask(frames: int, num_masked: int, span: int, generator: np.random.Generator) -> Mask:
    """A mask [frames] of exactly `num_masked` frames: spans in random order, the last one cut short."""
    mask = np.zeros(frames, dtype=np.bool_)
    missing = num_masked
    for start in generator.permutation(frames - span + 1):
        fresh = start + np.flatnonzero(~mask[start : start + span])
        mask[fresh[:missing]] = True
        missing -= min(missing, len(fresh))
        if not missing:
            break
    return mask


class SpanMask:
    """A `Transform` that adds `mask` [frames]."""

    def __init__(self, options: SpanMaskOptions) -> None:
        self._options = options

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        options = self._options
        field = waveform_of(sample) if options.field == "waveform" else spectrogram_of(sample)
        frames = num_frames_after(len(field), options.convolutions)
        real = num_frames_after(num_real(sample, options.field), options.convolutions)
        if real < options.span:
            raise SampleError(f"{options.field} has {real} frames, fewer than a span of {options.span}")
        mask = np.zeros(frames, dtype=np.bool_)
        mask[:real] = (
            exact_span_mask(real, self._num_masked(frames, real), options.span, generator)
            if options.exact
            else span_mask(real, options.p, options.span, options.min_spans, generator)
        )
        return sample | {"mask": mask}

    def _num_masked(self, frames: int, real: int) -> int:
        num_masked = round(frames * (1 - (1 - self._options.p) ** self._options.span))
        if num_masked > real:
            raise SampleError(
                f"{num_masked} of {frames} frames are to be masked (exact: true), but only {real} are no padding; "
                "crop with shorter: repeat, or leave short recordings out"
            )
        return num_masked


class SpectrogramPatchMask:
    """A `Transform` that adds `mask` [P]: a fixed number of random patches."""

    def __init__(self, options: SpectrogramPatchMaskOptions) -> None:
        self._options = options

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        frames, bands = spectrogram_of(sample).shape
        high, wide = self._options.patch_time, self._options.patch_freq
        if frames % high or bands % wide:
            raise SampleError(f"spectrogram [{frames}, {bands}] cannot be cut into patches [{high}, {wide}]")
        num_patches = (frames // high) * (bands // wide)
        mask = np.zeros(num_patches, dtype=np.bool_)
        mask[generator.permutation(num_patches)[: round(num_patches * self._options.share)]] = True
        return sample | {"mask": mask}
