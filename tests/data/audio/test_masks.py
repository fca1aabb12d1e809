from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from transformers import Wav2Vec2Config, Wav2Vec2Model
from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices

from data.audio.masks import SpanMask, SpectrogramPatchMask, exact_span_mask, num_frames_after, span_mask
from data.audio.options import SpanMaskOptions, SpectrogramPatchMaskOptions
from data.sample import Sample, SampleError
from tests.data.audio.conftest import sample_of


def masks(size: int, count: int = 2000, **options: Any) -> np.ndarray:
    """[count, size] masks over the frames of a spectrogram."""
    transform = SpanMask(SpanMaskOptions(field="spectrogram", **options))
    sample: Sample = {"spectrogram": np.zeros((size, 4), np.float32)}
    generator = np.random.default_rng(0)
    return np.stack([transform(sample, generator)["mask"] for _ in range(count)])


def run_lengths(mask: np.ndarray) -> np.ndarray:
    """Lengths of the runs of masked frames of all rows."""
    edges = np.diff(np.pad(mask.astype(int), ((0, 0), (1, 1))), axis=1)
    return np.nonzero(edges == -1)[1] - np.nonzero(edges == 1)[1]


@pytest.mark.parametrize(("size", "p", "span"), [(249, 0.065, 10), (100, 0.02, 5), (50, 0.05, 10)])
def test_the_statistics_are_those_of_transformers(size: int, p: float, span: int) -> None:
    found = masks(size, p=p, span=span, min_spans=2)
    np.random.seed(0)
    expected = np.concatenate([_compute_mask_indices((1, size), p * span, span, min_masks=2) for _ in range(2000)])
    error = 5 * np.hypot(found.mean(1).std(), expected.mean(1).std()) / np.sqrt(2000)
    assert abs(found.mean() - expected.mean()) < error
    assert abs(run_lengths(found).mean() - run_lengths(expected).mean()) < 0.3
    assert np.abs(found.mean(0) - expected.mean(0)).max() < 0.07
    assert run_lengths(found).min() == run_lengths(expected).min() == span


def test_the_paper_masks_about_half_in_runs_of_about_fifteen_frames() -> None:
    # "approximately 49% of all time steps ... with a mean span length of 14.7" (15 s of audio; appendix A.2).
    found = masks(749, 500)
    assert abs(found.mean() - 0.49) < 0.01
    assert abs(run_lengths(found).mean() - 14.7) < 0.5


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(1, 300), data=st.data(), p=st.floats(0.001, 1), least=st.integers(0, 5), seed=st.integers(0, 99)
)
def test_spans_are_whole(frames: int, data: st.DataObject, p: float, least: int, seed: int) -> None:
    span = data.draw(st.integers(1, frames))
    mask = span_mask(frames, p, span, least, np.random.default_rng(seed))
    assert mask.shape == (frames,)
    lengths = run_lengths(mask[None])
    assert (lengths >= span).all()
    assert mask.sum() >= (span if least else 0)
    assert mask.sum() <= span * max(least, int(p * frames) + 1)


@settings(max_examples=60, deadline=None)
@given(frames=st.integers(1, 300), data=st.data(), seed=st.integers(0, 99))
def test_exact_masks_have_their_number(frames: int, data: st.DataObject, seed: int) -> None:
    span = data.draw(st.integers(1, frames))
    num_masked = data.draw(st.integers(0, frames))
    mask = exact_span_mask(frames, num_masked, span, np.random.default_rng(seed))
    assert mask.sum() == num_masked
    # Only the last span may be shorter.
    assert (run_lengths(mask[None]) < span).sum() <= 1


def test_exact_masks_are_rectangular_and_as_dense_as_the_others() -> None:
    exact, usual = masks(249, exact=True), masks(249)
    assert set(exact.sum(1)) == {round(249 * (1 - 0.935**10))}
    assert abs(exact.mean() - usual.mean()) < 0.02
    assert abs(run_lengths(exact).mean() - run_lengths(usual).mean()) < 1.5


@settings(max_examples=50, deadline=None)
@given(length=st.integers(400, 200_000))
def test_frames_are_counted_as_in_wav2vec_2(length: int) -> None:
    model = Wav2Vec2Model.__new__(Wav2Vec2Model)
    object.__setattr__(model, "config", Wav2Vec2Config())
    expected = Wav2Vec2Model._get_feat_extract_output_lengths(model, length, add_adapter=False)
    assert num_frames_after(length, SpanMaskOptions().convolutions) == int(expected)


def test_frames_of_a_waveform_and_of_other_convolutions(generator: np.random.Generator) -> None:
    sample = sample_of(np.zeros(16_000, np.float32))
    assert SpanMask(SpanMaskOptions())(sample, generator)["mask"].shape == (49,)
    other = SpanMaskOptions(kernels=[400], strides=[160])
    assert SpanMask(other)(sample, generator)["mask"].shape == (98,)
    halved = SpanMaskOptions(field="spectrogram", kernels=[2], strides=[2], span=3)
    mask = SpanMask(halved)({"spectrogram": np.zeros((31, 4), np.float32)}, generator)["mask"]
    assert mask.shape == (15,)
    assert num_frames_after(9, [(10, 5)]) == num_frames_after(0, [(1, 1), (2, 2)]) == 0


def test_padding_is_not_masked(generator: np.random.Generator) -> None:
    sample = sample_of(np.zeros(32_000, np.float32), length=16_000)
    for exact in (False, True):
        options = SpanMaskOptions(exact=exact, p=0.03)
        found = np.stack([SpanMask(options)(sample, generator)["mask"] for _ in range(200)])
        assert found.shape == (200, 99)
        assert found[:, :49].any(0).all()
        assert not found[:, 49:].any()


def test_what_cannot_be_masked_is_refused(generator: np.random.Generator) -> None:
    short = sample_of(np.zeros(32_000, np.float32), length=3000)
    with pytest.raises(SampleError, match="waveform has 9 frames, fewer than a span of 10"):
        SpanMask(SpanMaskOptions())(short, generator)
    half = sample_of(np.zeros(32_000, np.float32), length=12_000)
    with pytest.raises(SampleError, match=r"48 of 99 frames are to be masked \(exact: true\), but only 37"):
        SpanMask(SpanMaskOptions(exact=True))(half, generator)


def test_kernels_and_strides_come_in_pairs() -> None:
    for options in ({"kernels": [10, 3]}, {"kernels": [3], "strides": []}, {"kernels": [0], "strides": [1]}):
        with pytest.raises(ValidationError):
            SpanMaskOptions.model_validate(options)


def test_patches_are_masked_in_their_number_and_all_equally_often(generator: np.random.Generator) -> None:
    transform = SpectrogramPatchMask(SpectrogramPatchMaskOptions(share=0.8))
    sample: Sample = {"spectrogram": np.zeros((64, 80), np.float32)}
    found = np.stack([transform(sample, generator)["mask"] for _ in range(2000)])
    assert found.shape == (2000, 20)
    assert found.dtype == np.bool_
    assert set(found.sum(1)) == {16}
    assert np.abs(found.mean(0) - 0.8).max() < 5 * np.sqrt(0.16 / 2000)
    assert abs(np.corrcoef(found[:, 0], found[:, 1])[0, 1]) < 0.15


def test_patches_that_do_not_fit_are_refused(generator: np.random.Generator) -> None:
    transform = SpectrogramPatchMask(SpectrogramPatchMaskOptions())
    with pytest.raises(SampleError, match=r"spectrogram \[1022, 128\] cannot be cut into patches \[16, 16\]"):
        transform({"spectrogram": np.zeros((1022, 128), np.float32)}, generator)
