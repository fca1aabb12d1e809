"""Batches for one rank, from a given step on.

The loader is told where to start and remembers nothing: resuming at step s builds the same loader
with `start=s`. Loading runs ahead of training, in a thread (`workers: 0`) or in worker processes.
"""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from configs.errors import DataError, UserError
from configs.seeds import derive
from data.ahead import Ahead
from data.batches import BatchPlan
from data.order import Order, OrderedSource, SampleOrder
from data.order_options import OrderOptions
from data.permutation import mix64
from data.processes import leave_signals_to_parent, lose_parent_quietly
from data.reading import BadSample, Reader, Row
from data.sample import Sample, Source

Batch = dict[str, Tensor]
"Named tensors, first dimension rows; integer fields are int64, but for bytes (uint8)."

_ROWS_AT_ONCE = 4096
_SHARED_BYTES = 1 << 20
# malloc.h: M_TRIM_THRESHOLD and M_MMAP_THRESHOLD (32 MB is its upper limit).
_MALLOC_OPTIONS = {-1: 256 << 20, -3: 32 << 20}

T = TypeVar("T")


@dataclass(frozen=True)
class StepBatch:
    """One rank's share of one global batch."""

    micro_batches: list[Batch]
    digest: int
    "Sum mod 2^64 of a hash of (source, position, index) over this rank's rows; sums over ranks."
    bad: list[BadSample]
    "Rows among them that had to be replaced."


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
        threads: int = 1,
        bad_samples: int = 0,
        order: OrderOptions | None = None,
    ) -> None:
        """Load `source` in the order of `seed`; the other arguments are those of `data.sources.DataOptions`."""
        drawn = order_of(source, seed, plan.global_rows, order)
        loader = DataLoader(
            _Rows(Reader(source, key=derive(seed, "transforms"), threads=threads)),
            batch_sampler=_RowSampler(plan, drawn, source.fingerprint, start, stop),
            num_workers=workers,
            collate_fn=_identity,
            # Steps are spread over the workers: together they are `prefetch` steps ahead.
            prefetch_factor=-(-prefetch * plan.num_micro // workers) if workers else None,
            pin_memory=torch.cuda.is_available(),
            # Workers are seeded from it. Without one, they are seeded by a draw from the global generator.
            generator=torch.Generator(),
            worker_init_fn=_start_worker if workers else None,
        )
        # Workers are ahead by themselves: the thread only unpacks what they made.
        self._steps = Ahead(_group(iter(loader), plan.num_micro), 2 if workers else prefetch)
        self._bad_samples_left = bad_samples
        self._workers = workers

    def __next__(self) -> StepBatch:
        try:
            with lost_workers_explained():
                step = next(self._steps)
        except (ConnectionError, EOFError) as error:
            if not self._workers:
                raise
            raise _lost_worker(f"{error!r} while it handed a batch over.") from None
        self._bad_samples_left -= len(step.bad)
        if self._bad_samples_left < 0:
            raise DataError(
                "too many damaged samples (data.bad_samples). Repair or replace them, or raise the limit. The last:\n"
                + "\n".join(f"  {bad.error}" for bad in step.bad)
            )
        return step

    def __iter__(self) -> Iterator[StepBatch]:
        return self

    def close(self) -> None:
        """Stop loading ahead."""
        self._steps.close()


@contextmanager
def lost_workers_explained() -> Iterator[None]:
    """Turn torch's error at a lost loader process, which may be raised anywhere in the main thread, into ours.

    Raises:
        DataError: saying what may have happened.
    """
    try:
        yield
    except RuntimeError as error:
        # "Caught ... in DataLoader worker" is another matter: a defect in the code that the worker ran.
        if not str(error).startswith("DataLoader worker (pid"):
            raise
        raise _lost_worker(str(error)) from None


def _lost_worker(what: str) -> DataError:
    error = DataError(
        f"a loader process was lost: {what} It has most often run out of memory: lower data.workers or data.prefetch. "
        "Too little shared memory (/dev/shm) looks the same."
    )
    error.is_everywhere = False
    return error


def order_of(source: Source, seed: int, global_rows: int, options: OrderOptions | None = None) -> SampleOrder:
    """The order in which a run draws from `source`; a full shuffle where no options are given."""
    options = options or OrderOptions()
    if isinstance(source, OrderedSource):
        return source.order(seed, global_rows, options)
    return Order(len(source), seed, options)


def evaluation_batches(
    source: Source, *, rows: int | None, micro_rows: int, rank: int, world_size: int
) -> Iterator[tuple[Batch, bool, list[BadSample]]]:
    """This rank's share of `rows` samples (all, where None), spread evenly over the source.

    Every sample is seen by exactly one rank. Every rank yields equally often, because sharded
    parameters are gathered by all ranks together; a rank that has no row left repeats one and says
    so with False, and the caller leaves it out of its sums. A damaged sample is replaced by its
    neighbour, and named in the list.
    """
    reader = Reader(source)
    total = min(rows or len(source), len(source))
    chosen = np.arange(total) * len(source) // total
    for share in np.array_split(chosen, -(-total // (micro_rows * world_size))):
        mine = np.array_split(share, world_size)[rank]
        indices = mine if len(mine) else share[:1]
        samples, bad = reader.read([Row(int(index), int(index)) for index in indices])
        yield collate(samples), bool(len(mine)), bad


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack the fields of samples; integers become int64, but for bytes (uint8).

    Raises:
        DataError: when samples differ in their fields or shapes, or a field is not made of numbers.
    """
    if any(sample.keys() != samples[0].keys() for sample in samples):
        found = sorted({", ".join(sorted(sample)) for sample in samples})
        raise DataError(
            f"samples of one batch have different fields: {' or '.join(found)}. Choose some: 'fields', keep."
        )
    return {name: _stacked(name, [sample[name] for sample in samples]) for name in samples[0]}


def _stacked(name: str, arrays: Sequence[NDArray[np.generic]]) -> Tensor:
    dtypes = {array.dtype for array in arrays}
    kinds = {"i" if dtype.kind == "u" else dtype.kind for dtype in dtypes}
    if len(kinds) > 1 or not kinds <= set("bifc"):
        raise DataError(
            f"field '{name}' holds {' and '.join(sorted(map(str, dtypes)))}, expected numbers of one kind: turn it "
            "into numbers by a transform, or leave it out by the key 'fields'."
        )
    if len({array.shape for array in arrays}) > 1:
        shapes = ", ".join(map(str, sorted({array.shape for array in arrays})[:4]))
        raise DataError(
            f"field '{name}' has the shapes {shapes} in one batch: bring it to one shape by a transform (a crop, a "
            "resize, padding), or leave it out by the key 'fields'."
        )
    dtype = np.result_type(*dtypes)
    if kinds == {"i"} and dtype != np.uint8:
        dtype = np.dtype(np.int64)
    stacked = _empty((len(arrays), *arrays[0].shape), dtype)
    np.stack(arrays, out=stacked.numpy(), casting="unsafe")
    return stacked


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Tensor:
    """An empty tensor; a loader process makes a large one in shared memory, and need not copy it there."""
    kind = torch.from_numpy(np.empty(0, dtype)).dtype
    num_bytes = math.prod(shape) * dtype.itemsize
    if num_bytes < _SHARED_BYTES or get_worker_info() is None:
        return torch.empty(shape, dtype=kind)
    storage = torch.UntypedStorage._new_shared(num_bytes)  # type: ignore[no-untyped-call]
    return torch.empty(0, dtype=kind).set_(storage).view(shape)


@dataclass(frozen=True)
class _MicroBatch:
    """What a worker sends: a batch, or why there is none (torch would wrap an exception in a traceback)."""

    batch: Batch
    digest: int = 0
    bad: list[BadSample] = field(default_factory=list)
    error: UserError | None = None

    def pin_memory(self) -> _MicroBatch:
        """Called by torch's pinning thread, where there is a GPU."""
        return replace(self, batch={name: tensor.pin_memory() for name, tensor in self.batch.items()})


class _Rows(Dataset[_MicroBatch]):
    """Rows of one micro-batch -> the collated batch and its digest."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __getitems__(self, micro_batches: list[tuple[list[Row], int]]) -> _MicroBatch:
        ((rows, digest),) = micro_batches
        try:
            samples, bad = self._reader.read(rows)
            return _MicroBatch(collate(samples), digest, bad)
        except UserError as error:
            return _MicroBatch({}, error=error)


def _start_worker(_number: int) -> None:
    """Runs once in each loader process."""
    leave_signals_to_parent()
    lose_parent_quietly()
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let glibc hold on to freed memory instead of returning it after every batch.

    Decoded images come and go by the megabyte; having their pages cleared anew each time cost a third of decoding.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is not None:
        for parameter, num_bytes in _MALLOC_OPTIONS.items():
            mallopt(parameter, num_bytes)


@dataclass(frozen=True)
class _RowSampler:
    """A batch sampler: the rows of one micro-batch after another, and their digest.

    Many steps are computed at once: the arithmetic is the same for one row and for a thousand.
    """

    plan: BatchPlan
    order: SampleOrder
    fingerprint: int
    start: int
    stop: int

    def __iter__(self) -> Iterator[list[tuple[list[Row], int]]]:
        plan = self.plan
        steps_at_once = max(1, _ROWS_AT_ONCE // (plan.micro_rows * plan.num_micro))
        for first in range(self.start, self.stop, steps_at_once):
            steps = range(first, min(first + steps_at_once, self.stop))
            positions = np.concatenate(
                [plan.positions(step, micro) for step in steps for micro in range(plan.num_micro)]
            )
            indices = self.order.indices(positions)
            identities = self._identities(positions, indices).reshape(-1, plan.micro_rows)
            digests = identities.sum(axis=1, dtype=np.uint64).tolist()
            rows = list(map(Row, positions.tolist(), indices.tolist()))
            for begin, digest in zip(range(0, len(rows), plan.micro_rows), digests, strict=True):
                yield [(rows[begin : begin + plan.micro_rows], digest)]

    def __len__(self) -> int:
        return (self.stop - self.start) * self.plan.num_micro

    def _identities(self, positions: NDArray[np.int64], indices: NDArray[np.int64]) -> NDArray[np.uint64]:
        """A hash of (source, position, index) for each row."""
        key = np.uint64(self.fingerprint)
        return mix64(mix64(positions.astype(np.uint64), key) ^ indices.astype(np.uint64), key)


def _group(micro_batches: Iterator[_MicroBatch], size: int) -> Iterator[StepBatch]:
    while group := list(itertools.islice(micro_batches, size)):
        for item in group:
            if item.error is not None:
                raise item.error
        digest = sum(item.digest for item in group) % 2**64
        yield StepBatch([item.batch for item in group], digest, [bad for item in group for bad in item.bad])


def _identity(item: T) -> T:
    return item
