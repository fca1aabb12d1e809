"""Several sources drawn in exact proportions, which may change with the step.

The positions of a stage are cut into blocks of `block` rows. Every block holds each part a fixed
number of times (its weight, rounded by largest remainder), at places shuffled anew. So it is known
without counting how many rows of a part came before any position, and each part goes through epochs
of its own: one drawn more often than it has samples comes round again, reshuffled. Access costs
O(block), whatever the position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from configs.seeds import derive
from data.order import Draws, Order, SampleOrder
from data.order_options import OrderOptions
from data.permutation import Permutation
from data.sample import Sample, Source, fingerprint_of
from data.sources import MixtureOptions, build_source
from data.storage import Storage
from data.transforms import draw, name_of

Int64 = NDArray[np.int64]


class Mixture:
    """A `Source` that holds the samples of its parts one after another, and knows in which order to draw them."""

    def __init__(self, options: MixtureOptions, storage: Storage | None = None) -> None:
        self._options = options
        self._names = list(options.parts)
        self._sources: list[Source] = [build_source(part.source, storage) for part in options.parts.values()]
        self._starts = np.cumsum([0, *(len(source) for source in self._sources)], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Sample:
        part = self._part_of(index)
        return self._sources[part][index - int(self._starts[part])]

    def draw(self, index: int, generator: np.random.Generator) -> Sample:
        """The sample at `index`, with random choices from `generator` where its part makes any."""
        part = self._part_of(index)
        return draw(self._sources[part], index - int(self._starts[part]), generator)

    def name(self, index: int) -> str:
        """Where the sample at `index` comes from."""
        part = self._part_of(index)
        return f"{self._names[part]}: {name_of(self._sources[part], index - int(self._starts[part]))}"

    def bounds(self, index: int) -> tuple[int, int]:
        """First index and end of the part that `index` lies in: samples of other parts may look different."""
        part = self._part_of(index)
        return int(self._starts[part]), int(self._starts[part + 1])

    def _part_of(self, index: int) -> int:
        return int(self._starts.searchsorted(index, side="right")) - 1

    @property
    def fingerprint(self) -> int:
        """A hash of the parts' content, their names and their weights."""
        described = [f"{name}={source.fingerprint}" for name, source in zip(self._names, self._sources, strict=True)]
        text = "\n".join([*described, str(self._options.block), *map(str, self._stages())])
        return fingerprint_of(text.encode())

    def order(self, seed: int, global_rows: int, options: OrderOptions) -> SampleOrder:
        """The order of a run with `global_rows` rows per step; `options` hold within each part."""
        return self._order(seed, global_rows, options)

    def draws(self, seed: int, global_rows: int, steps: int) -> list[Draws]:
        """What the first `steps` steps draw, part by part."""
        rows = self._order(seed, global_rows, OrderOptions()).drawn_until(steps * global_rows)
        named = zip(self._names, rows.tolist(), self._sources, strict=True)
        return [Draws(name, drawn, len(source)) for name, drawn, source in named]

    def _order(self, seed: int, global_rows: int, options: OrderOptions) -> MixtureOrder:
        named = zip(self._names, self._sources, strict=True)
        orders = [Order(len(source), derive(seed, "part", name), options) for name, source in named]
        stages = [(step * global_rows, weights) for step, weights in self._stages()]
        return MixtureOrder(orders, self._starts[:-1], stages, seed=seed, block=self._options.block)

    def _stages(self) -> list[tuple[int, list[float]]]:
        """(first step, weight of each part), the first stage from step 0."""
        sizes = [len(source) for source in self._sources]
        first = [part.weight for part in self._options.parts.values()]
        if self._options.alpha is not None:
            first = [size**self._options.alpha * weight for size, weight in zip(sizes, first, strict=True)]
        later = [(stage.step, [stage.weights[name] for name in self._names]) for stage in self._options.stages]
        return [(0, first), *sorted(later)]


class MixtureOrder:
    """Position -> index among the samples of all parts, laid one after another."""

    def __init__(
        self,
        orders: Sequence[Order],
        starts: Int64,
        stages: Sequence[tuple[int, Sequence[float]]],
        *,
        seed: int,
        block: int,
    ) -> None:
        self._orders = orders
        self._starts = starts
        self._stages: list[_Stage] = []
        before = np.zeros(len(orders), dtype=np.int64)
        for number, (first, weights) in enumerate(stages):
            stage = _Stage(first, proportions(weights, block), before, derive(seed, "mixture", number))
            self._stages.append(stage)
            if number + 1 < len(stages):
                before = stage.drawn_until(stages[number + 1][0])
        self._firsts = np.array([stage.first for stage in self._stages], dtype=np.int64)

    def indices(self, positions: Int64) -> Int64:
        """The sample index at each position, in the same order."""
        indices = np.empty_like(positions)
        stage_of = np.searchsorted(self._firsts, positions, side="right") - 1
        for number in np.unique(stage_of):
            rows = np.flatnonzero(stage_of == number)
            parts, places = self._stages[number].locate(positions[rows])
            for part in np.unique(parts):
                chosen = parts == part
                indices[rows[chosen]] = self._starts[part] + self._orders[part].indices(places[chosen])
        return indices

    def drawn_until(self, position: int) -> Int64:
        """Rows of each part drawn before `position`, [parts]."""
        number = int(np.searchsorted(self._firsts, position, side="right")) - 1
        return self._stages[number].drawn_until(position)


@dataclass(frozen=True)
class _Stage:
    """Positions from `first` on, with the same number of rows of each part in every block."""

    first: int
    counts: Int64
    before: Int64
    "Rows of each part drawn in earlier stages."
    key: int

    def locate(self, positions: Int64) -> tuple[Int64, Int64]:
        """The part at each position, and how many rows of that part came before it in the run."""
        size = int(self.counts.sum())
        blocks, offsets = (positions - self.first) // size, (positions - self.first) % size
        parts = np.empty_like(positions)
        places = np.empty_like(positions)
        for block in np.unique(blocks):
            rows = blocks == block
            parts_of_block, ranks = self._arrange(int(block))
            parts[rows], places[rows] = parts_of_block[offsets[rows]], ranks[offsets[rows]]
        return parts, self.before[parts] + blocks * self.counts[parts] + places

    def drawn_until(self, position: int) -> Int64:
        """Rows of each part drawn before `position`, earlier stages included."""
        blocks, rest = divmod(position - self.first, int(self.counts.sum()))
        parts, _ = self._arrange(blocks)
        in_block: Int64 = np.bincount(parts[:rest], minlength=len(self.counts)).astype(np.int64)
        return self.before + blocks * self.counts + in_block

    def _arrange(self, block: int) -> tuple[Int64, Int64]:
        """The part at each place of a block, and its rank among the places of the same part."""
        size = int(self.counts.sum())
        slots = Permutation(size, derive(self.key, "block", block))(np.arange(size))
        parts: Int64 = np.searchsorted(np.cumsum(self.counts), slots, side="right").astype(np.int64)
        ranks: Int64 = np.empty(size, dtype=np.int64)
        ranks[np.argsort(parts, kind="stable")] = np.concatenate([np.arange(count) for count in self.counts])
        return parts, ranks


def proportions(weights: Sequence[float], block: int) -> Int64:
    """How often each part stands in a block: weights times the block, rounded by largest remainder."""
    shares = np.asarray(weights, dtype=np.float64) / np.sum(weights) * block
    counts: Int64 = np.floor(shares).astype(np.int64)
    # Stable, so that equal remainders go to earlier parts on every machine.
    largest = np.argsort(counts - shares, kind="stable")
    counts[largest[: block - int(counts.sum())]] += 1
    return counts
