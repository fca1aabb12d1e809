"""The order of samples: position -> (epoch, index), a pure function.

Position p counts the samples of a run from its very first one. Epoch e = p // n visits every sample
exactly once, in an order of its own. Ranks, workers, batch size and restarts do not appear here,
so none of them can change what is drawn.

Within an epoch (`shuffle` of `OrderOptions`):

    full     one keyed permutation of range(n)
    none     the samples as they lie
    window   reads stay close to each other: the epoch is rotated by a random offset (so that every
             epoch cuts elsewhere), cut into runs of consecutive samples, whole runs are permuted, and
             the result is cut into windows, each permuted by itself. The samples of one window come
             from about window / run places, wherever the epoch stands. The last run, which may be
             shorter, ends the epoch; by the rotation any sample may be in it.

Each of them takes O(1) memory and time at any position.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from configs.seeds import derive
from data.order_options import OrderOptions
from data.permutation import Permutation

Int64 = NDArray[np.int64]


class SampleOrder(Protocol):
    """Any order."""

    def indices(self, positions: Int64) -> Int64:
        """The sample index at each position, in the same order."""


@dataclass(frozen=True)
class Draws:
    """How much of something a run draws."""

    name: str
    "The part of a mixture; empty for a whole source."
    rows: int
    "Samples drawn, repetitions counted."
    num_samples: int
    "Samples of one epoch."

    @property
    def epochs(self) -> float:
        """How often every sample is drawn."""
        return self.rows / self.num_samples


@runtime_checkable
class OrderedSource(Protocol):
    """A source that knows in which order it wants to be drawn."""

    def order(self, seed: int, global_rows: int, options: OrderOptions) -> SampleOrder:
        """The order of a run with `global_rows` rows per step."""

    def draws(self, seed: int, global_rows: int, steps: int) -> list[Draws]:
        """What the first `steps` steps draw, part by part."""


class Order:
    """Endless epochs over `num_samples` samples, reshuffled every epoch."""

    def __init__(self, num_samples: int, seed: int, options: OrderOptions | None = None) -> None:
        self.num_samples = num_samples
        self._seed = seed
        self._options = options or OrderOptions()

    def indices(self, positions: Int64) -> Int64:
        """The sample index at each position, in the same order."""
        epochs, slots = np.divmod(positions, self.num_samples)
        return _by_group(epochs, slots, self._within_epoch)

    def _within_epoch(self, epoch: int, slots: Int64) -> Int64:
        if self._options.shuffle == "none":
            return slots
        if self._options.shuffle == "full":
            return Permutation(self.num_samples, derive(self._seed, "order", epoch))(slots)
        return self._permute_runs(epoch, self._permute_windows(epoch, slots))

    def _permute_windows(self, epoch: int, slots: Int64) -> Int64:
        """Move each slot within its window."""
        size = self._options.window

        def permute(window: int, offsets: Int64) -> Int64:
            start = window * size
            key = derive(self._seed, "order", epoch, "window", window)
            return start + Permutation(min(size, self.num_samples - start), key)(offsets)

        windows, offsets = np.divmod(slots, size)
        return _by_group(windows, offsets, permute)

    def _permute_runs(self, epoch: int, slots: Int64) -> Int64:
        """The sample at each slot of the epoch cut into runs."""
        size = self._options.run
        whole_runs = self.num_samples // size
        runs, offsets = np.divmod(slots, size)
        whole = runs < whole_runs
        if whole_runs:
            runs[whole] = Permutation(whole_runs, derive(self._seed, "order", epoch, "runs"))(runs[whole])
        rotation = derive(self._seed, "order", epoch, "rotation") % self.num_samples
        indices: Int64 = (runs * size + offsets + rotation) % self.num_samples
        return indices


def draws_of(source: object, num_samples: int, *, seed: int, global_rows: int, steps: int) -> list[Draws]:
    """What `steps` steps of `global_rows` rows draw from a source of `num_samples` samples, part by part."""
    if isinstance(source, OrderedSource):
        return source.draws(seed, global_rows, steps)
    return [Draws("", steps * global_rows, num_samples)]


def _by_group(groups: Int64, values: Int64, of_group: Callable[[int, Int64], Int64]) -> Int64:
    """Apply `of_group(group, values of that group)`, keeping the places of the values."""
    found = np.empty_like(values)
    for group in np.unique(groups):
        rows = groups == group
        found[rows] = of_group(int(group), values[rows])
    return found
