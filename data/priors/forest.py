"""Tables labelled by decision trees that were fitted to noise.

A deep tree memorises random targets of random rows, so its regions are as jagged as boundaries can
be; fresh rows then take its predictions as their target (den Breejen et al. 2024, "Why in-context
learning transformers are tabular data classifiers"). There scikit-learn fits the tree and tries every
feature at each node; here `candidates` random ones are tried, which still memorise and cost far less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.priors.arithmetic import Floats
from data.priors.options import ForestOptions
from data.priors.prior import between
from data.priors.tables import Table, categorise

Ints = NDArray[np.int64]


class Forest(Table[ForestOptions]):
    """A `Source` of tables (see `data.priors.tables`)."""

    def table(self, rng: np.random.Generator, num_features: int) -> tuple[Floats, Floats]:
        """Fresh rows, and what the trees say of them."""
        options = self.options
        depth = between(rng, options.min_depth, options.max_depth)
        features_RC = rng.standard_normal((options.rows, num_features))
        # Before the trees see them: the target is a function of what the table shows.
        features_RC = categorise(rng, features_RC, options.categorical)
        target_R = np.zeros(options.rows)
        for _ in range(options.trees):
            x_NC = rng.standard_normal((options.base_rows, num_features))
            y_N = rng.standard_normal(options.base_rows)
            target_R += grow(rng, x_NC, y_N, depth, options.candidates).predict(features_RC)
        return features_RC, target_R


@dataclass(frozen=True)
class Tree:
    """A regression tree: arrays over its nodes. Node 0 is the root, a leaf is its own child."""

    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    value: Floats
    depth: int

    def predict(self, x_RC: Floats) -> Floats:
        """The value of the leaf of each row [R]."""
        rows_R = np.arange(len(x_RC))
        node_R = np.zeros(len(x_RC), dtype=np.int64)
        for _ in range(self.depth):
            goes_left_R = x_RC[rows_R, self.feature[node_R]] <= self.threshold[node_R]
            node_R = np.where(goes_left_R, self.left[node_R], self.right[node_R])
        return self.value[node_R]


def grow(rng: np.random.Generator, x_NC: Floats, y_N: Floats, max_depth: int, candidates: int) -> Tree:
    """Fit a tree by least squares, one whole level at a time, until leaves are single rows or `max_depth`.

    Each node takes the best cut (midway between two rows) of `candidates` randomly drawn features.
    """
    most = 2 * len(y_N) - 1
    feature_M, threshold_M = np.zeros(most, dtype=np.int64), np.zeros(most)
    left_M, right_M = np.arange(most), np.arange(most)
    node_N = np.zeros(len(y_N), dtype=np.int64)
    num_nodes = 1
    for _ in range(max_depth):
        rows = np.flatnonzero(np.bincount(node_N, minlength=num_nodes)[node_N] > 1)
        if not len(rows):
            break
        nodes, local = np.unique(node_N[rows], return_inverse=True)
        feature_M[nodes], threshold_M[nodes], has_cut = _best_cuts(rng, x_NC, y_N, rows, local, candidates)
        nodes = nodes[has_cut]
        left_M[nodes] = num_nodes + 2 * np.arange(len(nodes))
        right_M[nodes] = left_M[nodes] + 1
        num_nodes += 2 * len(nodes)
        at = node_N[rows]
        node_N[rows] = np.where(x_NC[rows, feature_M[at]] <= threshold_M[at], left_M[at], right_M[at])
    value_M = np.bincount(node_N, y_N, most) / np.maximum(np.bincount(node_N, minlength=most), 1)
    return Tree(feature_M, threshold_M, left_M, right_M, value_M, max_depth)


def _best_cuts(
    rng: np.random.Generator, x_NC: Floats, y_N: Floats, rows: Ints, node_N: Ints, candidates: int
) -> tuple[Ints, Floats, NDArray[np.bool_]]:
    """Each node's feature and threshold, and whether it can be cut; `node_N`: the node 0, 1, ... of each of `rows`."""
    ends_M = np.cumsum(np.bincount(node_N))
    starts_M = np.concatenate([[0], ends_M[:-1]])
    best_M = np.full(len(ends_M), -np.inf)
    feature_M, threshold_M = np.zeros(len(ends_M), dtype=np.int64), np.zeros(len(ends_M))
    for _ in range(candidates):
        drawn_M = rng.integers(x_NC.shape[1], size=len(ends_M))
        value_N = x_NC[rows, drawn_M[node_N]]
        order_N = np.lexsort((value_N, node_N))
        value_N = value_N[order_N]
        gain_N = _gains(value_N, y_N[rows[order_N]], starts_M, ends_M)
        gain_M = np.maximum.reduceat(gain_N, starts_M)
        # The first row of each node that has the node's largest gain.
        places = np.flatnonzero(gain_N == gain_M[node_N[order_N]])
        place_M = places[np.searchsorted(places, starts_M)]
        below_M, above_M = value_N[place_M], value_N[place_M + 1]
        middle_M = (below_M + above_M) / 2
        middle_M = np.where(middle_M < above_M, middle_M, below_M)  # neighbouring floats have no middle
        is_better_M = gain_M > best_M
        best_M = np.where(is_better_M, gain_M, best_M)
        feature_M = np.where(is_better_M, drawn_M, feature_M)
        threshold_M = np.where(is_better_M, middle_M, threshold_M)
    return feature_M, threshold_M, best_M > -np.inf


def _gains(value_N: Floats, y_N: Floats, starts_M: Ints, ends_M: Ints) -> Floats:
    """What a cut after each row takes off the sum of squares of its node, up to a constant; -inf where there is none.

    Rows are sorted by node, then by value: those left of a cut are a prefix of their node.
    """
    size_M = ends_M - starts_M
    node_N = np.repeat(np.arange(len(size_M)), size_M)
    left_size_N = np.arange(1, len(y_N) + 1) - starts_M[node_N]
    right_size_N = np.maximum(size_M[node_N] - left_size_N, 1)
    sums_N = np.cumsum(y_N)
    left_sum_N = sums_N - (sums_N[starts_M] - y_N[starts_M])[node_N]
    right_sum_N = sums_N[ends_M - 1][node_N] - sums_N
    gain_N = left_sum_N * left_sum_N / left_size_N + right_sum_N * right_sum_N / right_size_N
    gain_N[ends_M - 1] = -np.inf
    gain_N[:-1][value_N[:-1] == value_N[1:]] = -np.inf
    return np.asarray(gain_N)
