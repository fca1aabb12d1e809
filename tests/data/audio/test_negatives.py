from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.audio.negatives import Negatives
from data.audio.options import NegativesOptions
from data.sample import SampleError


@given(
    mask=st.lists(st.booleans(), min_size=2, max_size=40).filter(lambda mask: sum(mask) >= 2),
    seed=st.integers(0, 1000),
    count=st.integers(1, 9),
)
def test_distractors_are_other_masked_frames(mask: list[bool], seed: int, count: int) -> None:
    sample = {"mask": np.array(mask), "waveform": np.zeros(3)}
    draw = Negatives(NegativesOptions(count=count))
    found = draw(sample, np.random.default_rng(seed))
    negatives = found["negatives"]
    assert negatives.shape == (len(mask), count)
    for frame, drawn in enumerate(negatives):
        if mask[frame]:
            assert all(mask[other] and other != frame for other in drawn)
        else:
            assert not drawn.any()
    assert sample.keys() == {"mask", "waveform"}
    assert np.array_equal(negatives, draw(sample, np.random.default_rng(seed))["negatives"])


def test_every_other_masked_frame_is_equally_likely() -> None:
    mask = np.array([True, False, True, True, True])
    draws = 12_000
    found = Negatives(NegativesOptions(count=draws))({"mask": mask}, np.random.default_rng(0))["negatives"]
    for frame in np.flatnonzero(mask):
        counts = np.bincount(found[frame], minlength=5)
        expected = np.where(mask & (np.arange(5) != frame), draws / 3, 0)
        # Chi-squared with two degrees of freedom: above 20 once in 22,000 times.
        assert ((counts - expected) ** 2 / np.maximum(expected, 1)).sum() < 20


def test_one_masked_frame_has_no_distractor() -> None:
    with pytest.raises(SampleError, match="1 of 3 frames are masked"):
        Negatives(NegativesOptions())({"mask": np.array([False, True, False])}, np.random.default_rng(0))
