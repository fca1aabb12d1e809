from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from transformers import Wav2Vec2FeatureExtractor

from data.audio.levels import AddNoise, Gain, NormalizeAudio
from data.audio.options import AddNoiseOptions, GainOptions, NormalizeAudioOptions
from tests.data.audio.conftest import sample_of, tone


def decibels(ratio: float) -> float:
    return float(10 * np.log10(ratio))


def test_gain_is_uniform_in_decibels(generator: np.random.Generator) -> None:
    gain = Gain(GainOptions(min_db=-20, max_db=10))
    waveform = tone(100)
    found = [gain(sample_of(waveform), generator)["waveform"] for _ in range(1000)]
    assert all(each.dtype == np.float32 for each in found)
    drawn = [decibels(float((each[3] / waveform[3]) ** 2)) for each in found]
    assert -20.01 < min(drawn) < -19.5
    assert 9.5 < max(drawn) < 10.01
    assert abs(np.mean(drawn) + 5) < 1.5
    assert np.allclose(found[0] / found[0][3], waveform / waveform[3], rtol=1e-5)


@pytest.mark.parametrize("length", [None, 1, 400, 1000])
def test_normalised_as_wav2vec_2_does(length: int | None, generator: np.random.Generator) -> None:
    waveform = 0.3 * tone(1000) + 0.1
    if length is not None:
        waveform[length:] = 0
    found = NormalizeAudio(NormalizeAudioOptions())(sample_of(waveform, length=length), generator)["waveform"]
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    expected = extractor(
        waveform[:length].astype(np.float64), sampling_rate=16_000, padding="max_length", max_length=1000
    ).input_values[0]
    assert found.dtype == np.float32
    assert np.allclose(found, expected, atol=2e-6)


def test_silence_stays_finite_when_normalised(generator: np.random.Generator) -> None:
    found = NormalizeAudio(NormalizeAudioOptions())(sample_of(np.full(50, 0.25, np.float32)), generator)
    assert np.array_equal(found["waveform"], np.zeros(50, np.float32))


@settings(max_examples=25, deadline=None)
@given(snr_db=st.floats(-10, 50), seed=st.integers(0, 99), level=st.floats(1e-3, 1))
def test_noise_has_the_power_asked_for(snr_db: float, seed: int, level: float) -> None:
    waveform = (level * tone(20_000)).astype(np.float32)
    add = AddNoise(AddNoiseOptions(min_snr_db=snr_db, max_snr_db=snr_db))
    noise = add(sample_of(waveform), np.random.default_rng(seed))["waveform"].astype(float) - waveform
    assert abs(decibels(np.square(waveform, dtype=float).mean() / np.square(noise).mean()) - snr_db) < 0.3
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 0.05


def test_padding_and_silence_get_no_noise(generator: np.random.Generator) -> None:
    add = AddNoise(AddNoiseOptions())
    padded = np.pad(tone(600), (0, 400))
    found = add(sample_of(padded, length=600), generator)["waveform"]
    assert np.array_equal(found[600:], padded[600:])
    assert (found[:600] != padded[:600]).mean() > 0.9
    silence = np.zeros(500, np.float32)
    assert np.array_equal(add(sample_of(silence), generator)["waveform"], silence)


def test_noise_comes_as_often_as_asked(generator: np.random.Generator) -> None:
    add = AddNoise(AddNoiseOptions(probability=0.3))
    waveform = tone(20)
    changed = [not np.array_equal(add(sample_of(waveform), generator)["waveform"], waveform) for _ in range(2000)]
    assert abs(np.mean(changed) - 0.3) < 0.05


@pytest.mark.parametrize(("options", "changes"), [
    (GainOptions, {"min_db": 3.0, "max_db": 2.0}),
    (AddNoiseOptions, {"min_snr_db": 3.0, "max_snr_db": 2.0}),
])  # fmt: skip
def test_ranges_are_in_order(options: type, changes: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="is above"):
        options(**changes)
