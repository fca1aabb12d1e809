"""The features of published models, compared with the code that computes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from transformers import ASTFeatureExtractor, WhisperFeatureExtractor

from data.audio.mel import LogMel
from data.audio.options import LogMelOptions
from data.sample import Sample, SampleError
from tests.data.audio.conftest import sample_of, tone

WAVEFORM = tone(40_123)


def features(waveform: np.ndarray = WAVEFORM, rate: int = 16_000, **options: Any) -> np.ndarray:
    sample = sample_of(waveform, rate)
    return LogMel(LogMelOptions(sample_rate=rate, **options))(sample, np.random.default_rng())["spectrogram"]


def slow_mel(waveform: np.ndarray, window: np.ndarray, hop: int, bands: np.ndarray) -> np.ndarray:
    """[T, F] energies, frame by frame, by the definition of the Fourier transform; frames centred, ends reflected."""
    size = len(window)
    padded = np.pad(waveform.astype(float), size // 2, mode="reflect")
    basis = np.exp(-2j * np.pi * np.outer(np.arange(size // 2 + 1), np.arange(size)) / size)
    frames = [padded[hop * t : hop * t + size] * window for t in range(1 + len(waveform) // hop)]
    return np.array([bands.T @ np.abs(basis @ frame) ** 2 for frame in frames])


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("seconds", [1, 30])
def test_whisper(n_mels: int, seconds: int) -> None:
    padded = np.zeros(16_000 * seconds, np.float32)
    padded[: len(WAVEFORM)] = WAVEFORM[: len(padded)]
    extractor = WhisperFeatureExtractor(feature_size=n_mels, chunk_length=seconds)
    expected = extractor(padded, sampling_rate=16_000, return_tensors="np").input_features[0].T
    found = features(padded, n_mels=n_mels)
    assert (found.shape, found.dtype) == ((100 * seconds, n_mels), np.float32)
    assert np.abs(found - expected).max() < 2e-4


@pytest.mark.parametrize("window", ["hann", "povey"])
@pytest.mark.parametrize("options", [
    {"n_mels": 128}, {"n_mels": 23, "fmin": 60.0, "fmax": 7600.0}, {"hop": 100, "window": 512},
])  # fmt: skip
def test_kaldi(window: str, options: dict[str, Any]) -> None:
    expected = torchaudio.compliance.kaldi.fbank(
        torch.from_numpy(WAVEFORM.astype(np.float64))[None],
        num_mel_bins=options.get("n_mels", 80),
        frame_length=options.get("window", 400) / 16,
        frame_shift=options.get("hop", 160) / 16,
        low_freq=options.get("fmin", 20.0),
        high_freq=options.get("fmax", 0.0),
        window_type={"hann": "hanning"}.get(window, window),
    ).numpy()
    found = features(convention="kaldi", window_function=window, **options)
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 5e-3  # bands of next to no energy; torchaudio in float32 is as far off
    assert np.abs(found - expected).mean() < 1e-5
    if window == "povey":
        assert np.array_equal(features(convention="kaldi", **options), found)


@pytest.mark.parametrize("frames", [100, 300])
def test_audio_spectrogram_transformer(frames: int) -> None:
    extractor = ASTFeatureExtractor(max_length=frames)
    expected = extractor(WAVEFORM, sampling_rate=16_000, return_tensors="np").input_values[0]
    found = features(
        convention="kaldi", window_function="hann", n_mels=128, frames=frames, mean=-4.2677393, std=2 * 4.5689974
    )
    assert found.shape == expected.shape == (frames, 128)
    assert np.abs(found - expected).max() < 2e-4


@pytest.mark.parametrize("convention", ["htk", "slaney"])
@pytest.mark.parametrize(
    "options", [{}, {"window": 400, "n_fft": 512, "hop": 150}, {"fmin": 50.0, "fmax": 4000.0, "n_mels": 40}]
)
def test_mel_spectrogram_of_torchaudio(convention: str, options: dict[str, Any]) -> None:
    transform = torchaudio.transforms.MelSpectrogram(
        sample_rate=16_000,
        n_fft=options.get("n_fft", 400),
        win_length=400,
        hop_length=options.get("hop", 160),
        f_min=options.get("fmin", 0.0),
        f_max=options.get("fmax"),
        n_mels=options.get("n_mels", 80),
        mel_scale=convention,
        norm="slaney" if convention == "slaney" else None,
    )
    expected = transform(torch.from_numpy(WAVEFORM)).clamp(min=1e-10).log().numpy().T
    found = features(convention=convention, **options)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 2e-3


def test_by_the_definition_of_the_fourier_transform() -> None:
    bands = torchaudio.functional.melscale_fbanks(201, 0.0, 8000.0, 40, 16_000).double().numpy()
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    expected = slow_mel(WAVEFORM[:3000], window, 160, bands)
    assert np.abs(features(WAVEFORM[:3000], convention="htk", n_mels=40) - np.log(expected)).max() < 1e-3


@settings(max_examples=40, deadline=None)
@given(frames=st.integers(512, 4000), hop=st.integers(50, 500), data=st.data())
def test_the_number_of_frames(frames: int, hop: int, data: st.DataObject) -> None:
    length = data.draw(st.integers(1, frames))
    expected = {"whisper": frames // hop, "kaldi": 1 + (frames - 400) // hop, "htk": 1 + frames // hop}
    for convention, count in expected.items():
        transform = LogMel(LogMelOptions.model_validate({"convention": convention, "hop": hop, "n_mels": 20}))
        sample = sample_of(tone(frames), length=length)
        if count:
            found = transform(sample, np.random.default_rng())
            assert found["spectrogram"].shape == (count, 20)
            centres = np.arange(count) * hop
            real = centres + 400 <= length if convention == "kaldi" else centres < length
            assert found["num_frames"] == real.sum()


def test_fields_before_and_after() -> None:
    sample: Sample = sample_of(WAVEFORM, length=40_000) | {"label": np.array(2)}
    before = {name: value.copy() for name, value in sample.items()}
    found = LogMel(LogMelOptions())(sample, np.random.default_rng())
    assert found.keys() == {"sample_rate", "label", "spectrogram", "num_frames"}
    both = LogMel(LogMelOptions(keep_waveform=True))(sample, np.random.default_rng())
    assert both.keys() == found.keys() | {"waveform", "length"}
    assert all(np.array_equal(sample[name], before[name]) for name in before)
    assert both["num_frames"] == 250


def test_a_fixed_number_of_frames_is_cut_or_filled_with_zeros() -> None:
    usual = features(convention="kaldi")
    assert np.array_equal(features(convention="kaldi", frames=100), usual[:100])
    longer = LogMel(LogMelOptions(convention="kaldi", frames=400))(sample_of(WAVEFORM), np.random.default_rng())
    assert np.array_equal(longer["spectrogram"][: len(usual)], usual)
    assert not longer["spectrogram"][len(usual) :].any()
    assert longer["num_frames"] == len(usual)


def test_mean_and_std() -> None:
    assert np.allclose(features(mean=0.5, std=2.0), (features() - 0.5) / 2, atol=1e-6)


def test_another_rate_is_refused() -> None:
    with pytest.raises(SampleError, match="sample rate 8000, expected 16000: put the transform resample before"):
        LogMel(LogMelOptions())(sample_of(WAVEFORM, 8000), np.random.default_rng())


@pytest.mark.parametrize(("convention", "least"), [("whisper", 201), ("kaldi", 400)])
def test_waveforms_shorter_than_a_frame_are_refused(convention: str, least: int) -> None:
    assert len(features(WAVEFORM[:least], convention=convention)) == 1
    with pytest.raises(SampleError, match=f"waveform of {least - 1} samples, expected at least {least}"):
        features(WAVEFORM[: least - 1], convention=convention)


@pytest.mark.parametrize("options", [
    {"n_fft": 300}, {"window": 401}, {"fmin": 4000.0, "fmax": 3000.0}, {"fmax": 9000.0}, {"window_function": "povey"},
])  # fmt: skip
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LogMelOptions(**options)
