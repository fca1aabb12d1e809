"""Tables from random networks read as structural causal models.

A sparse random network turns root causes into layers of noisy nodes. A causal table shows some nodes
and asks for another, which may lie upstream or downstream of them; otherwise the network is a random
function of the features, as in a Bayesian neural network (Hollmann et al. 2023, "TabPFN").
The distributions of widths, depths and scales are simpler than in the released code of that paper.
"""

from __future__ import annotations

import numpy as np

from data.priors.arithmetic import Floats, product, squash, standardise
from data.priors.options import StructuralCausalOptions
from data.priors.prior import between
from data.priors.tables import Table, categorise

_OUTLIER_STDS = 4.0


class StructuralCausal(Table[StructuralCausalOptions]):
    """A `Source` of tables (see `data.priors.tables`)."""

    def table(self, rng: np.random.Generator, num_features: int) -> tuple[Floats, Floats]:
        """Features and target of one random network."""
        options = self.options
        num_layers = between(rng, options.min_layers, options.max_layers)
        width = between(rng, options.min_width, options.max_width)
        if rng.random() < options.causal:
            width = max(width, -(-(num_features + 1) // num_layers))
            causes_RM = self._causes(rng, between(rng, 2, options.max_causes))
            nodes_RM = np.concatenate(self._layers(rng, causes_RM, num_layers, width), axis=1)
            chosen = rng.permutation(nodes_RM.shape[1])[: num_features + 1]
            features_RC, target_R = nodes_RM[:, chosen[1:]], nodes_RM[:, chosen[0]]
        else:
            features_RC = self._causes(rng, num_features)
            target_R = self._layers(rng, features_RC, num_layers, width)[-1][:, 0]
        features_RC = standardise(features_RC, clip_at=_OUTLIER_STDS)
        return categorise(rng, features_RC, options.categorical), target_R

    def _causes(self, rng: np.random.Generator, num_causes: int) -> Floats:
        """Normal causes [R, num_causes], each with a mean and a scale of its own."""
        mean_M, scale_M = rng.standard_normal(num_causes), rng.standard_normal(num_causes)
        return mean_M + scale_M * rng.standard_normal((self.options.rows, num_causes))

    def _layers(self, rng: np.random.Generator, nodes_RM: Floats, num_layers: int, width: int) -> list[Floats]:
        """The nodes of each layer, [R, width]."""
        options = self.options
        weight_std = options.weight_std * rng.random()
        keep = 1.0 - options.sparsity * rng.random()
        # A product of three: small noise is the likelier, much as on a logarithmic scale.
        noise_std = options.noise_std * rng.random() * rng.random() * rng.random()
        activation = between(rng, 0, 2)
        layers = []
        for _ in range(num_layers):
            num_inputs = nodes_RM.shape[1]
            weights = rng.standard_normal((num_inputs, width)) * (weight_std / np.sqrt(num_inputs * keep))
            weights *= rng.random((num_inputs, width)) < keep
            noise_RM = noise_std * rng.standard_normal((options.rows, width))
            nodes_RM = _activate(product(nodes_RM, weights) + noise_RM, activation)
            layers.append(nodes_RM)
        return layers


def _activate(x: Floats, activation: int) -> Floats:
    if activation == 0:
        return squash(x)
    return x.clip(min=0.0) if activation == 1 else x
