from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
import torchaudio.functional
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.options import construct
from data.audio.options import ResampleOptions
from data.audio.resample import Resample
from tests.data.audio.conftest import sample_of, tone

RATES = [8_000, 11_025, 16_000, 22_050, 44_100, 48_000]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("new_rate", [8_000, 16_000, 24_000])
def test_equal_to_torchaudio(rate: int, new_rate: int, generator: np.random.Generator) -> None:
    waveform = tone(5003, rate)
    found = Resample(ResampleOptions(sample_rate=new_rate))(sample_of(waveform, rate), generator)
    expected = torchaudio.functional.resample(torch.from_numpy(waveform).double(), rate, new_rate).numpy()
    assert found["waveform"].shape == expected.shape
    assert np.abs(found["waveform"] - expected).max() < 5e-6
    assert (found["waveform"].dtype, int(found["sample_rate"])) == (np.float32, new_rate)


def test_a_tone_keeps_its_pitch_and_what_the_new_rate_cannot_hold_is_gone(generator: np.random.Generator) -> None:
    time = np.arange(44_100) / 44_100
    down = Resample(ResampleOptions(sample_rate=16_000))
    low, high = (
        down(sample_of(np.sin(2 * np.pi * hertz * time).astype(np.float32), 44_100), generator)["waveform"][200:-200]
        for hertz in (1000, 12_000)
    )
    assert np.abs(low - np.sin(2 * np.pi * 1000 * np.arange(200, 15_800) / 16_000)).max() < 0.01
    assert np.abs(high).max() < 0.01


@settings(max_examples=30, deadline=None)
@given(frames=st.integers(1, 3000), data=st.data(), rate=st.sampled_from(RATES), new=st.sampled_from(RATES))
def test_length_is_resampled_too(frames: int, data: st.DataObject, rate: int, new: int) -> None:
    length = data.draw(st.integers(1, frames))
    resample = Resample(ResampleOptions(sample_rate=new))
    found = resample(sample_of(tone(frames, rate), rate, length), np.random.default_rng())
    assert len(found["waveform"]) == -(-frames * new // rate)
    assert found["length"] == -(-length * new // rate)
    assert found["length"] == len(resample(sample_of(tone(length, rate), rate), np.random.default_rng())["waveform"])


def test_the_same_rate_changes_nothing(generator: np.random.Generator) -> None:
    sample = sample_of(tone())
    found = Resample(ResampleOptions(sample_rate=16_000))(sample, generator)
    assert found.keys() == sample.keys()
    assert all(found[name] is sample[name] for name in sample)


def test_read_only_waveforms_and_pickled_resamplers(generator: np.random.Generator) -> None:
    waveform = tone()
    waveform.flags.writeable = False
    resample = construct(ResampleOptions(sample_rate=8_000))
    assert isinstance(resample, Resample)
    first = resample(sample_of(waveform), generator)["waveform"]
    again = pickle.loads(pickle.dumps(resample))(sample_of(waveform), generator)["waveform"]
    assert np.array_equal(first, again)
