"""Batches for one rank, from a given step on.

The loader is told where to start and remembers nothing: resuming at step s builds the same loader
with `start=s`. Loading runs ahead of training, in a thread (`workers: 0`) or in worker processes.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data.batches import BatchPlan
from data.order import Order
from data.permutation import mix64
from data.sources import Sample, Source

Batch = dict[str, Tensor]
"Named tensors, first dimension rows; integer fields are int64."

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
        self, source: Source, *, seed: int, plan: BatchPlan, start: int, stop: int, workers: int, prefetch: int
    ) -> None:
        loader = DataLoader(
            _Rows(source, Order(len(source), seed)),
            batch_sampler=_Positions(plan, start, stop),
            num_workers=workers,
            collate_fn=_identity,
            prefetch_factor=prefetch * plan.num_micro if workers else None,
            pin_memory=torch.cuda.is_available(),
            # Workers are seeded from it. Without one, they are seeded by a draw from the global generator.
            generator=torch.Generator(),
        )
        self._steps = _Ahead(_group(iter(loader), plan.num_micro), prefetch)

    def __iter__(self) -> Iterator[StepBatch]:
        return self

    def __next__(self) -> StepBatch:
        return next(self._steps)

    def close(self) -> None:
        """Stop loading ahead."""
        self._steps.close()


def evaluation_batches(
    source: Source, *, rows: int | None, micro_rows: int, rank: int, world_size: int
) -> Iterator[tuple[Batch, bool]]:
    """This rank's share of the first `rows` samples (all, where None), in their own order.

    Every sample is seen by exactly one rank. Every rank yields equally often, because sharded
    parameters are gathered by all ranks together; a rank that has no row left repeats one and says
    so with False, and the caller leaves it out of its sums.
    """
    total = min(rows or len(source), len(source))
    for share in np.array_split(np.arange(total), -(-total // (micro_rows * world_size))):
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
    """Sample positions -> one collated micro-batch and its digest."""

    def __init__(self, source: Source, order: Order) -> None:
        self._source = source
        self._order = order
        self._key = np.uint64(source.fingerprint)

    def __getitems__(self, positions: list[int]) -> tuple[Batch, int]:
        places = np.asarray(positions, dtype=np.int64)
        indices = self._order.indices(places)
        identities = mix64(mix64(places.astype(np.uint64), self._key), np.uint64(1)) ^ indices.astype(np.uint64)
        digest = int(mix64(identities, self._key).sum(dtype=np.uint64))
        return collate([self._source[int(index)] for index in indices]), digest


@dataclass(frozen=True)
class _Positions:
    """A batch sampler: the positions of one micro-batch after another."""

    plan: BatchPlan
    start: int
    stop: int

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.stop):
            for micro in range(self.plan.num_micro):
                yield self.plan.positions(step, micro).tolist()

    def __len__(self) -> int:
        return (self.stop - self.start) * self.plan.num_micro


def _group(micro_batches: Iterator[tuple[Batch, int]], size: int) -> Iterator[StepBatch]:
    while True:
        group = [item for _, item in zip(range(size), micro_batches, strict=False)]
        if not group:
            return
        yield StepBatch([batch for batch, _ in group], sum(digest for _, digest in group) % 2**64)


class _Ahead(Iterator[T]):
    """Runs an iterator in a thread, at most `depth` items ahead."""

    def __init__(self, items: Iterator[T], depth: int) -> None:
        self._queue: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(items,), name="loader", daemon=True)
        self._thread.start()

    def __next__(self) -> T:
        if self._closed.is_set():
            raise StopIteration
        item, error = self._queue.get()
        if error is not None:
            self._closed.set()
            raise error
        assert item is not None
        return item

    def close(self) -> None:
        self._closed.set()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._thread.join(timeout=10)

    def _run(self, items: Iterator[T]) -> None:
        try:
            for item in items:
                self._put(item, None)
                if self._closed.is_set():
                    return
            self._put(None, StopIteration())
        except BaseException as error:  # handed to the consumer, who raises it
            # Its frames hold the iterator and would keep worker processes alive for as long as the error.
            traceback.clear_frames(error.__traceback__)
            self._put(None, error)

    def _put(self, item: T | None, error: BaseException | None) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put((item, error), timeout=0.1)
                break


def _identity(item: T) -> T:
    return item
