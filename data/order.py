"""The order of samples: position -> (epoch, index), a pure function.

Position p counts the samples of a run from its very first one. Epoch e = p // n visits every sample
exactly once, in an order of its own. Ranks, workers, batch size and restarts do not appear here,
so none of them can change what is drawn.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from configs.seeds import derive
from data.permutation import Permutation


class SampleOrder(Protocol):
    """Any order."""

    def indices(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The sample index at each position, in the same order."""


@runtime_checkable
class OrderedSource(Protocol):
    """A source that knows in which order it wants to be drawn."""

    def order(self, seed: int, global_rows: int) -> SampleOrder:
        """The order of a run with `global_rows` rows per step."""


class Order:
    """Endless epochs over `num_samples` samples, reshuffled every epoch."""

    def __init__(self, num_samples: int, seed: int) -> None:
        self.num_samples = num_samples
        self._seed = seed

    def indices(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The sample index at each position, in the same order."""
        epochs, slots = np.divmod(positions, self.num_samples)
        indices = np.empty_like(slots)
        for epoch in np.unique(epochs):
            rows = epochs == epoch
            indices[rows] = self._permutation(int(epoch))(slots[rows])
        return indices

    def _permutation(self, epoch: int) -> Permutation:
        return Permutation(self.num_samples, derive(self._seed, "order", epoch))
