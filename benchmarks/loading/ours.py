"""polytrain as a contender."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.loading.contenders import Work
from benchmarks.loading.corpora import Corpus, Field
from data.batches import BatchPlan
from data.loader import TrainLoader
from data.order import Order
from data.order_options import OrderOptions
from data.reading import Reader, Row
from data.sample import Sample, Source
from data.samples import Samples
from data.sources import SamplesOptions
from data.storage import Storage

_ROWS_AT_ONCE = 1024
_ROWS_OF_A_BATCH = 64


class Decoded:
    """A source whose raw members are decoded by the functions that the other loaders use."""

    def __init__(self, source: Source, fields: Mapping[str, Field]) -> None:
        self._source = source
        self._fields = dict(fields)
        self.fingerprint = source.fingerprint

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Sample:
        sample = self._source[index]
        for name, field in self._fields.items():
            sample[name] = np.asarray(field.decode(sample[name].tobytes()))
        return sample


def raw_source(shards: Sequence[str], extensions: Sequence[str], storage: Storage | None = None) -> Samples:
    """The members of shards as they lie in them."""
    fields = {extension: f"{extension}:raw" for extension in extensions}
    return Samples(SamplesOptions(shards=list(shards), fields=fields), storage)


def decoded_source(corpus: Corpus) -> Source:
    """The fields of a corpus: by our own decoders where they do the same, else by the corpus' functions."""
    fields = {name: field.builtin or f"{field.extension}:raw" for name, field in corpus.fields.items()}
    source = Samples(SamplesOptions(shards=[str(path) for path in corpus.shards], fields=fields))
    others = {name: field for name, field in corpus.fields.items() if not field.builtin}
    return Decoded(source, others) if others else source


class Polytrain:
    """Any order over the indexed tars."""

    def __init__(self, shuffle: Literal["full", "window", "none"] = "full", **sizes: int) -> None:
        """`shuffle` and the rest are the keys of `data.order`."""
        self._order = OrderOptions.model_validate({"shuffle": shuffle, **sizes})
        self.name = f"polytrain ({', '.join([shuffle, *(f'{key} {value:,}' for key, value in sizes.items())])})"

    def prepare(self, corpus: Corpus) -> float:
        return corpus.index_seconds

    def indices(self, num_samples: int, seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """(positions, samples) of one epoch, a thousand at a time, as the loader computes them."""
        order = Order(num_samples, seed, self._order)
        for first in range(0, num_samples, _ROWS_AT_ONCE):
            positions = np.arange(first, min(first + _ROWS_AT_ONCE, num_samples), dtype=np.int64)
            yield positions, order.indices(positions)

    def samples(self, work: Work) -> Iterator[Mapping[str, Any]]:
        extensions = [field.extension for field in work.corpus.fields.values()]
        yield from self.read(raw_source([str(path) for path in work.corpus.shards], extensions), work.seed)

    def read(self, source: Source, seed: int, threads: int = 1) -> Iterator[Sample]:
        """One epoch of a source."""
        reader = Reader(source, threads=threads)
        for positions, indices in self.indices(len(source), seed):
            rows = list(map(Row, positions.tolist(), indices.tolist()))
            for start in range(0, len(rows), _ROWS_OF_A_BATCH):
                yield from reader.read(rows[start : start + _ROWS_OF_A_BATCH])[0]

    def batches(self, work: Work) -> Iterator[Mapping[str, Any]]:
        plan = BatchPlan(work.rows, work.rows, 0, 1)
        return self.steps(decoded_source(work.corpus), work, plan, 0, work.corpus.num_samples // work.rows)

    def steps(self, source: Source, work: Work, plan: BatchPlan, start: int, stop: int) -> Iterator[Mapping[str, Any]]:
        """This rank's micro-batches of some steps."""
        loader = TrainLoader(
            source,
            seed=work.seed,
            plan=plan,
            start=start,
            stop=stop,
            workers=work.workers,
            prefetch=2 * max(1, work.workers),  # what torch's DataLoader and WebLoader do
            order=self._order,
        )
        try:
            for step in loader:
                yield from step.micro_batches
        finally:
            loader.close()
