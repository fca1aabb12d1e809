from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.audio.options import SpecAugmentOptions
from data.audio.spec_augment import SpecAugment
from data.sample import Sample, SampleError


def augmented(sample: Sample, seed: int = 0, **options: Any) -> np.ndarray:
    return SpecAugment(SpecAugmentOptions(**options))(sample, np.random.default_rng(seed))["spectrogram"]


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(1, 120), bands=st.integers(1, 90), freq_masks=st.integers(0, 3), time_masks=st.integers(0, 3),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_masks_are_whole_bands_and_whole_frames(
    frames: int, bands: int, freq_masks: int, time_masks: int, seed: int
) -> None:
    sample: Sample = {"spectrogram": np.ones((frames, bands), np.float32)}
    masked = augmented(sample, seed, freq_masks=freq_masks, time_masks=time_masks, freq_width=9, time_width=20) == 0
    lost_bands, lost_frames = masked.all(axis=0), masked.all(axis=1)
    if not (lost_bands.all() or lost_frames.all()):
        assert np.array_equal(masked, lost_bands[None, :] | lost_frames[:, None])
        assert lost_bands.sum() <= 9 * freq_masks
        assert lost_frames.sum() <= 20 * time_masks
    assert (sample["spectrogram"] == 1).all()


def test_widths_and_places_are_uniform() -> None:
    sample: Sample = {"spectrogram": np.ones((30, 40), np.float32)}
    masked = [augmented(sample, seed, freq_masks=1, time_masks=0, freq_width=4)[0] == 0 for seed in range(3000)]
    widths = np.bincount([each.sum() for each in masked], minlength=5)
    assert len(widths) == 5
    assert (np.abs(widths - 600) < 5 * np.sqrt(480)).all()
    first = np.bincount([int(each.argmax()) for each in masked if each.sum() == 4], minlength=37)
    assert len(first) == 37
    assert first.min() > 0


def test_a_share_of_the_frames_limits_the_time_masks() -> None:
    sample: Sample = {"spectrogram": np.ones((50, 4), np.float32)}
    lost = [
        (augmented(sample, seed, freq_masks=0, time_masks=1, time_share=0.2)[:, 0] == 0).sum() for seed in range(300)
    ]
    assert max(lost) == 10


@pytest.mark.parametrize(("value", "expected"), [(0.0, 0.0), (-1.5, -1.5), ("mean", 3.0)])
def test_the_value_written(value: object, expected: float) -> None:
    spectrogram = np.concatenate([np.full((40, 8), 3.0), np.full((20, 8), 99.0)]).astype(np.float32)
    spectrogram[::2, 0] -= 1
    spectrogram[1::2, 0] += 1
    spectrogram[40:] = 99
    sample: Sample = {"spectrogram": spectrogram, "num_frames": np.array(40)}
    for seed in range(20):
        found = augmented(sample, seed, value=value)
        changed = found != spectrogram
        assert np.allclose(found[changed], expected)
        assert not changed[40:].any()


def test_no_spectrogram_is_refused() -> None:
    for wrong in (np.zeros(9, np.float32), np.zeros((0, 9), np.float32), np.zeros((9, 9), np.int64)):
        with pytest.raises(SampleError, match="spectrogram is"):
            augmented({"spectrogram": wrong})
