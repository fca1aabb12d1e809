"""Logged pulls of multi-armed bandits with the best arm as the label, for decision pretraining.

A model that predicts the best arm from the pulls of any behaviour learns to act like posterior
sampling (Lee et al. 2023, "Supervised pretraining can learn in-context reinforcement learning").
"""

from __future__ import annotations

import numpy as np

from data.priors.arithmetic import Floats
from data.priors.options import BanditOptions
from data.priors.prior import Prior
from data.sample import Sample


class Bandit(Prior[BanditOptions]):
    """A `Source` of `{"actions": [H] int64, "rewards": [H] float32, "means": [A] float32, "optimal_action": []}`.

    Pulls are independent of each other, so their order carries nothing. `means` and `optimal_action`
    (int64) are the answer: not for the model.
    """

    def make(self, rng: np.random.Generator) -> Sample:
        """One task and its log."""
        arms, horizon = self.options.arms, self.options.horizon
        means_A = rng.random(arms).astype(np.float32)
        actions_H = np.searchsorted(np.cumsum(_behaviour(rng, arms))[:-1], rng.random(horizon), side="right")
        noise_H = self.options.reward_std * rng.standard_normal(horizon)
        return {
            "actions": actions_H.astype(np.int64),
            "rewards": (means_A[actions_H] + noise_H).astype(np.float32),
            "means": means_A,
            "optimal_action": np.array(np.argmax(means_A), dtype=np.int64),
        }


def _behaviour(rng: np.random.Generator, arms: int) -> Floats:
    """Probabilities of the arms: between a uniformly drawn distribution and always the same arm."""
    # Normalised exponentials are uniform on the simplex, Dirichlet(1).
    probabilities_A = rng.standard_exponential(arms)
    probabilities_A /= probabilities_A.sum()
    stubbornness = rng.integers(11) / 10
    probabilities_A *= 1 - stubbornness
    probabilities_A[rng.integers(arms)] += stubbornness
    return probabilities_A
