"""Samples by index, with a policy for those that cannot be read.

A damaged sample is replaced by its neighbour, so that the shape of a batch and everything after it stay as
they were; it is named, counted, and too many of them end the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from data.randomness import stream_at
from data.sample import RandomSource, Sample, SampleError, Source
from data.transforms import draw

_NEIGHBOURS = 16


class Row(NamedTuple):
    """One row of a batch: which sample, at which position of the run."""

    position: int
    sample: int


@dataclass(frozen=True)
class BadSample:
    """A sample that could not be read, and the one that stands in for it."""

    position: int
    sample: int
    replaced_by: int
    error: str


class Reader:
    """Reads rows from a source."""

    def __init__(self, source: Source, *, key: int | None = None, threads: int = 1) -> None:
        """Rows of `source`; `key` seeds what is random in them (None: samples as `source[index]` has them).

        `threads` rows are read at a time.
        """
        self._source = source
        self._key = key
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None  # made in the process that reads

    def read(self, rows: Sequence[Row]) -> tuple[list[Sample], list[BadSample]]:
        """The samples of `rows`, in order, and those among them that had to be replaced.

        Raises:
            SampleError: when a sample and all its neighbours are damaged.
        """
        if self._threads > 1 and len(rows) > 1:
            self._pool = self._pool or ThreadPoolExecutor(self._threads, thread_name_prefix="read")
            results = list(self._pool.map(self._read, rows))
        else:
            results = [self._read(row) for row in rows]
        return [sample for sample, _ in results], [bad for _, bad in results if bad is not None]

    def _read(self, row: Row) -> tuple[Sample, BadSample | None]:
        try:
            return self._sample(row.sample, row.position), None
        except SampleError as error:
            return self._neighbour(row, str(error))

    def _neighbour(self, row: Row, error: str) -> tuple[Sample, BadSample]:
        """The next sample that can be read, within the part of the source that the row was drawn from."""
        bounds = getattr(self._source, "bounds", None)
        start, stop = bounds(row.sample) if bounds is not None else (0, len(self._source))
        last = error
        for distance in range(1, min(_NEIGHBOURS, stop - start - 1) + 1):
            index = start + (row.sample - start + distance) % (stop - start)
            try:
                return self._sample(index, row.position), BadSample(row.position, row.sample, index, error)
            except SampleError as found:
                last = str(found)
        raise SampleError(f"{error}\nThe {_NEIGHBOURS} samples after it cannot be read either. The last: {last}")

    def _sample(self, index: int, position: int) -> Sample:
        if self._key is None or not isinstance(self._source, RandomSource):
            return self._source[index]
        return draw(self._source, index, stream_at(self._key, position))
