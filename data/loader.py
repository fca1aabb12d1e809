"""Batches for one rank, from a given step on.

The loader is told where to start and remembers nothing: resuming at step s builds the same loader
with `start=s`. Loading runs ahead of training, in a thread (`workers: 0`) or in worker processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data.ahead import Ahead
from data.batches import BatchPlan
from data.order import Order, OrderedSource, SampleOrder
from data.order_options import OrderOptions
from data.permutation import mix64
from data.sample import Sample, Source

Batch = dict[str, Tensor]
"Named tensors, first dimension rows; integer fields are int64."

_ROWS_AT_ONCE = 1024

T = TypeVar("T")


@dataclass(frozen=True)
class StepBatch:
    """One rank's share of one global batch."""

    micro_batches: list[Batch]
    digest: int
    "Sum mod 2^64 of a hash of (source, position, index) over this rank's rows; sums over ranks."


class TrainLoader:
    """The rank's share of the global batches of steps start, start + 1, ..., stop - 1."""

    def __init__(
        self,
        source: Source,
        *,
        seed: int,
        plan: BatchPlan,
        start: int,
        stop: int,
        workers: int,
        prefetch: int,
        order: OrderOptions | None = None,
    ) -> None:
        drawn = order_of(source, seed, plan.global_rows, order)
        loader = DataLoader(
            _Rows(source),
            batch_sampler=_RowSampler(plan, drawn, source.fingerprint, start, stop),
            num_workers=workers,
            collate_fn=_identity,
            prefetch_factor=prefetch * plan.num_micro if workers else None,
            pin_memory=torch.cuda.is_available(),
            # Workers are seeded from it. Without one, they are seeded by a draw from the global generator.
            generator=torch.Generator(),
        )
        self._steps = Ahead(_group(iter(loader), plan.num_micro), prefetch)

    def __iter__(self) -> Iterator[StepBatch]:
        return self

    def __next__(self) -> StepBatch:
        return next(self._steps)

    def close(self) -> None:
        """Stop loading ahead."""
        self._steps.close()


def order_of(source: Source, seed: int, global_rows: int, options: OrderOptions | None = None) -> SampleOrder:
    """The order in which a run draws from `source`; a full shuffle where no options are given."""
    options = options or OrderOptions()
    if isinstance(source, OrderedSource):
        return source.order(seed, global_rows, options)
    return Order(len(source), seed, options)


def evaluation_batches(
    source: Source, *, rows: int | None, micro_rows: int, rank: int, world_size: int
) -> Iterator[tuple[Batch, bool]]:
    """This rank's share of `rows` samples (all, where None), spread evenly over the source.

    Every sample is seen by exactly one rank. Every rank yields equally often, because sharded
    parameters are gathered by all ranks together; a rank that has no row left repeats one and says
    so with False, and the caller leaves it out of its sums.
    """
    total = min(rows or len(source), len(source))
    chosen = np.arange(total) * len(source) // total
    for share in np.array_split(chosen, -(-total // (micro_rows * world_size))):
        mine = np.array_split(share, world_size)[rank]
        indices = mine if len(mine) else share[:1]
        yield collate([source[int(index)] for index in indices]), bool(len(mine))


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack the fields of samples; integers become int64."""
    batch: Batch = {}
    for name in samples[0]:
        stacked = np.stack([sample[name] for sample in samples])
        if stacked.dtype.kind in "iu":
            stacked = stacked.astype(np.int64, copy=False)
        batch[name] = torch.from_numpy(stacked)
    return batch


class _Rows(Dataset[tuple[Batch, int]]):
    """Rows of one micro-batch -> the collated batch and its digest."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __getitems__(self, rows: list[tuple[int, int]]) -> tuple[Batch, int]:
        samples, digest = [], 0
        for index, identity in rows:
            samples.append(self._source[index])
            digest += identity
        return collate(samples), digest


@dataclass(frozen=True)
class _RowSampler:
    """A batch sampler: (index, identity) of the rows of one micro-batch after another.

    Many steps are computed at once: the arithmetic is the same for one row and for a thousand.
    """

    plan: BatchPlan
    order: SampleOrder
    fingerprint: int
    start: int
    stop: int

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        plan = self.plan
        steps_at_once = max(1, _ROWS_AT_ONCE // (plan.micro_rows * plan.num_micro))
        for first in range(self.start, self.stop, steps_at_once):
            steps = range(first, min(first + steps_at_once, self.stop))
            positions = np.concatenate(
                [plan.positions(step, micro) for step in steps for micro in range(plan.num_micro)]
            )
            indices = self.order.indices(positions)
            rows = list(zip(indices.tolist(), self._identities(positions, indices).tolist(), strict=True))
            for begin in range(0, len(rows), plan.micro_rows):
                yield rows[begin : begin + plan.micro_rows]

    def __len__(self) -> int:
        return (self.stop - self.start) * self.plan.num_micro

    def _identities(self, positions: NDArray[np.int64], indices: NDArray[np.int64]) -> NDArray[np.uint64]:
        """A hash of (source, position, index) for each row."""
        key = np.uint64(self.fingerprint)
        return mix64(mix64(positions.astype(np.uint64), key) ^ indices.astype(np.uint64), key)


def _group(micro_batches: Iterator[tuple[Batch, int]], size: int) -> Iterator[StepBatch]:
    while True:
        group = [item for _, item in zip(range(size), micro_batches, strict=False)]
        if not group:
            return
        yield StepBatch([batch for batch, _ in group], sum(digest for _, digest in group) % 2**64)


def _identity(item: T) -> T:
    return item
