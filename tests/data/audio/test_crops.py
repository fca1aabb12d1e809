from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from data.audio.crops import CropAudio, DecodeCrop
from data.audio.options import CropAudioOptions, DecodeCropOptions
from data.sample import Sample, SampleError
from tests.data.audio.conftest import Encode, sample_of, tone

RAMP = np.arange(1, 1001, dtype=np.float32) / 1000


def crop(waveform: np.ndarray, seed: int = 0, length: int | None = None, **options: object) -> Sample:
    transform = CropAudio(CropAudioOptions.model_validate(options))
    return transform(sample_of(waveform, 100, length), np.random.default_rng(seed))


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(1, 1000),
    size=st.integers(1, 1500),
    at=st.sampled_from(["random", "start", "center"]),
    shorter=st.sampled_from(["zeros", "repeat"]),
    seed=st.integers(0, 99),
)
def test_a_crop_is_a_range_of_the_waveform(frames: int, size: int, at: str, shorter: str, seed: int) -> None:
    found = crop(RAMP[:frames], seed, samples=size, at=at, shorter=shorter)
    waveform = found["waveform"]
    assert (waveform.shape, waveform.dtype) == ((size,), np.float32)
    if frames >= size:
        start = round(float(waveform[0]) * 1000) - 1
        assert np.array_equal(waveform, RAMP[start : start + size])
        assert start + size <= frames
        assert at == "random" or start == (0 if at == "start" else (frames - size) // 2)
        assert found["length"] == size
    elif shorter == "zeros":
        assert np.array_equal(waveform, np.concatenate([RAMP[:frames], np.zeros(size - frames, np.float32)]))
        assert found["length"] == frames
    else:
        assert np.array_equal(waveform, RAMP[np.arange(size) % frames])
        assert found["length"] == size


def test_every_start_is_equally_likely() -> None:
    starts = [round(float(crop(RAMP[:10], seed, samples=6)["waveform"][0]) * 1000) - 1 for seed in range(2000)]
    counts = np.bincount(starts)
    assert len(counts) == 5
    assert (np.abs(counts - 400) < 5 * np.sqrt(320)).all()


def test_seconds_are_counted_at_the_rate_of_the_sample() -> None:
    assert crop(RAMP, seconds=2.5)["waveform"].shape == (250,)
    assert crop(RAMP, seconds=0.001)["waveform"].shape == (1,)
    no_rate = CropAudio(CropAudioOptions(samples=7))({"waveform": RAMP}, np.random.default_rng(0))
    assert no_rate["waveform"].shape == (7,)


def test_padding_is_not_cropped_as_if_it_were_sound() -> None:
    padded = np.pad(RAMP[:50], (0, 50))
    for seed in range(20):
        found = crop(padded, seed, length=50, samples=40)
        assert found["waveform"].min() > 0
        assert found["length"] == 40
    assert crop(padded, length=50, samples=80)["length"] == 50


def test_short_waveforms_can_be_refused() -> None:
    assert crop(RAMP, samples=1000, shorter="refuse")["length"] == 1000
    with pytest.raises(SampleError, match="1000 samples, expected at least 1001; set 'shorter'"):
        crop(RAMP, samples=1001, shorter="refuse")


@pytest.mark.parametrize("waveform", [np.zeros(0, np.float32), np.zeros((2, 9), np.float32), np.zeros(9, np.int16)])
def test_what_is_no_waveform_is_refused(waveform: np.ndarray) -> None:
    with pytest.raises(SampleError, match="waveform is "):
        crop(waveform, samples=3)


@pytest.mark.parametrize("options", [{}, {"samples": 3, "seconds": 1.0}, {"samples": 0}, {"seconds": 0.0}])
def test_a_crop_has_one_length(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CropAudioOptions.model_validate(options)


@pytest.mark.parametrize("name", ["wav", "flac", "ogg"])
@pytest.mark.parametrize("options", [{"samples": 5000}, {"seconds": 0.25, "at": "center"}, {"samples": 20_000}])
def test_decoding_a_crop_equals_decoding_and_cropping(name: str, options: dict[str, object], encoded: Encode) -> None:
    from data.audio.decode import decode_audio

    content = encoded(name)
    for seed in range(5):
        raw = {"audio": np.frombuffer(content, np.uint8), "label": np.array(3)}
        found = DecodeCrop(DecodeCropOptions.model_validate(options))(raw, np.random.default_rng(seed))
        whole = sample_of(*decode_audio(content)) | {"label": np.array(3)}
        expected = CropAudio(CropAudioOptions.model_validate(options))(whole, np.random.default_rng(seed))
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[field], expected[field]) for field in expected)


def test_what_cannot_be_decoded_names_its_field() -> None:
    decode = DecodeCrop(DecodeCropOptions(samples=9, field="sound"))
    with pytest.raises(SampleError, match="sound: cannot be decoded as audio"):
        decode({"sound": np.zeros(99, np.uint8)}, np.random.default_rng(0))


def test_a_refusal_to_pad_is_not_a_defect_of_the_file(encoded: Encode) -> None:
    decode = DecodeCrop(DecodeCropOptions(samples=16_001, shorter="refuse"))
    with pytest.raises(SampleError, match=r"^16000 samples, expected at least 16001"):
        decode({"audio": np.frombuffer(encoded("wav", tone()), np.uint8)}, np.random.default_rng(0))
