from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from data.priors.bandits import Bandit
from data.priors.options import BanditOptions


@settings(max_examples=30, deadline=None)
@given(arms=st.integers(2, 12), horizon=st.integers(1, 60), index=st.integers(0, 999))
def test_shapes_types_and_ranges(arms: int, horizon: int, index: int) -> None:
    sample = Bandit(BanditOptions(arms=arms, horizon=horizon))[index]
    assert {name: (value.shape, value.dtype.name) for name, value in sample.items()} == {
        "actions": ((horizon,), "int64"),
        "rewards": ((horizon,), "float32"),
        "means": ((arms,), "float32"),
        "optimal_action": ((), "int64"),
    }
    assert ((sample["actions"] >= 0) & (sample["actions"] < arms)).all()
    assert ((sample["means"] >= 0) & (sample["means"] <= 1)).all()
    assert sample["optimal_action"] == np.argmax(sample["means"])


def test_rewards_are_the_means_with_the_noise_asked_for() -> None:
    samples = [Bandit(BanditOptions(horizon=20_000))[index] for index in range(5)]
    for sample in samples:
        noise = sample["rewards"] - sample["means"][sample["actions"]]
        assert abs(noise.std() - 0.3) < 0.01
        for arm in range(5):
            pulls = sample["actions"] == arm
            if pulls.sum() > 0:
                assert abs(noise[pulls].mean()) < 5 * 0.3 / np.sqrt(pulls.sum())


def test_every_arm_is_the_best_equally_often() -> None:
    source = Bandit(BanditOptions(horizon=1))
    counts = np.bincount([int(source[index]["optimal_action"]) for index in range(2000)], minlength=5)
    assert (np.abs(counts - 400) < 4 * np.sqrt(320)).all()


def test_behaviour_ranges_from_mixed_to_a_single_arm_and_knows_nothing_of_the_means() -> None:
    samples = [Bandit(BanditOptions(horizon=100))[index] for index in range(1000)]
    largest = np.array([np.bincount(sample["actions"]).max() / 100 for sample in samples])
    # One of eleven behaviours never leaves its arm.
    assert 0.05 < (largest == 1).mean() < 0.15
    assert largest.min() < 0.4
    on_best = [float((sample["actions"] == sample["optimal_action"]).mean()) for sample in samples]
    assert abs(np.mean(on_best) - 0.2) < 0.05
