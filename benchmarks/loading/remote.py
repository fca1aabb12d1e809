"""Raw samples per second over HTTP, 20 ms before every answer: the first epoch and the second.

A server in a process of its own (`server.py`). webdataset opens shards by `pipe:curl -s URL`, its own way; ours reads
ranges, several at a time, or keeps shards in a local cache. Requests and bytes are counted by the server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import webdataset as wds

from benchmarks.loading.contenders import CannotError, Work
from benchmarks.loading.corpora import Corpus, payloads
from benchmarks.loading.figures import WEBDATASET, Report, Spread, interleaved, ratios
from benchmarks.loading.ours import Polytrain, raw_source
from benchmarks.loading.peers import Datasets, WebDataset
from benchmarks.loading.server import counts, serving
from data.cache import CacheOptions, storage_of
from data.storage import Storage

Epochs = Callable[[Work], list[Iterator[Mapping[str, Any]]]]
"A loader: two epochs over the shards of a work, which are URLs. Opened when they are asked for."


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    payload_bytes: tuple[tuple[int, int], ...] = ((2_000, 2_000), (32_000, 1_000), (150_000, 500))
    "(bytes, samples)"
    num_shards: int = 8
    threads: tuple[int, ...] = (8, 32)
    "Range reads at a time."
    latency_s: float = 0.02
    repetitions: int = 3
    warm_up: int = 0


QUICK = Sizes(payload_bytes=((2_000, 60),), num_shards=2, threads=(1, 4), latency_s=0.002, repetitions=1, warm_up=0)


_TRIAL = 1 << 20
"A seed that no repetition has."


class Ours:
    """Ranges of the remote tars, several at a time, or a cache of whole shards; fully shuffled."""

    def __init__(self, folder: Path, threads: int, *, cached: bool = False) -> None:
        self.name = f"polytrain, {'cache' if cached else 'ranges'}, {threads} at a time"
        self._folder = folder
        self._threads = threads
        self._cached = cached

    def __call__(self, work: Work) -> list[Iterator[Mapping[str, Any]]]:
        new = self._folder / f"polytrain-{work.corpus.name}-{work.seed}".replace(" ", "-")
        options = CacheOptions(folder=str(new), size_gb=1000) if self._cached else None
        return [self._epoch(work, storage_of(options), number) for number in range(2)]

    def _epoch(self, work: Work, storage: Storage, number: int) -> Iterator[Mapping[str, Any]]:
        extensions = [field.extension for field in work.corpus.fields.values()]
        source = raw_source([str(shard) for shard in work.corpus.shards], extensions, storage)
        yield from Polytrain().read(source, work.seed + number, self._threads)


def run(folder: Path, sizes: Sizes) -> Report:
    """Measure; the corpora are written below `folder`."""
    report = Report(f"Raw samples per second over HTTP, {sizes.latency_s * 1e3:g} ms before every answer, one process")
    for size, num_samples in sizes.payload_bytes:
        corpus = payloads(folder / f"payload-{size}", size, num_samples, sizes.num_shards)
        loaders: dict[str, Epochs] = {WEBDATASET: partial(_twice, WebDataset(prefix="pipe:curl -sf "))}
        loaders["webdataset, cache_dir"] = partial(_cached_by_webdataset, folder)
        loaders["datasets (streaming)"] = partial(_twice, Datasets())
        for threads in sizes.threads:
            ranges = Ours(folder, threads)
            loaders[ranges.name] = ranges
        cached = Ours(folder, min(sizes.threads), cached=True)
        loaders[cached.name] = cached
        with serving(corpus.folder, sizes.latency_s) as address:
            _measure(report, address, corpus, loaders, sizes)
    return report


def _measure(report: Report, address: str, corpus: Corpus, loaders: dict[str, Epochs], sizes: Sizes) -> None:
    # Not a path: pathlib would drop a slash of the address.
    urls: Any = tuple(f"{address}/{path.name}" for path in corpus.shards)
    remote = replace(corpus, shards=urls)
    rates: dict[str, Callable[[int], float]] = {}
    details: dict[str, list[dict[str, float]]] = {}
    for name, loader in loaders.items():
        try:
            next(loader(Work(remote, seed=_TRIAL))[0])
        except CannotError as error:
            report.notes.append(f"{name} left out: {error}".replace(address, "http://..."))
            continue
        details[name] = []
        rates[name] = partial(_rate, address, loader, remote, details[name])
    found = interleaved(rates, sizes.repetitions, warm_up=sizes.warm_up)
    for name, values in found.items():
        kept = details[name][sizes.warm_up :]
        report.rows.append(
            {
                "payload": corpus.name,
                "loader": name,
                "epoch 1, samples/s": Spread.of(values),
                f"of {WEBDATASET}'s": ratios(values, found[WEBDATASET]),
                "epoch 2, samples/s": Spread.of(detail["second"] for detail in kept),
                "requests, epoch 1": Spread.of(detail["requests"] for detail in kept),
                "bytes, epoch 1, of the payload": Spread.of(detail["bytes"] for detail in kept),
            }
        )


def _rate(address: str, loader: Epochs, corpus: Corpus, details: list[dict[str, float]], repetition: int) -> float:
    rates = []
    before = counts(address)
    after = before
    for epoch in loader(Work(corpus, seed=repetition)):
        total = 0
        started = time.perf_counter()
        for sample in epoch:
            total += len(sample[corpus.payload])
        rates.append(corpus.num_samples / (time.perf_counter() - started))
        assert total == corpus.payload_bytes, f"{total} bytes of {corpus.payload_bytes}"
        if len(rates) == 1:
            after = counts(address)
    details.append(
        {
            "second": rates[1],
            "requests": after["requests"] - before["requests"],
            "bytes": (after["bytes"] - before["bytes"]) / corpus.payload_bytes,
        }
    )
    return rates[0]


def _cached_by_webdataset(folder: Path, work: Work) -> list[Iterator[Mapping[str, Any]]]:
    """The cache of whole shards that webdataset has."""
    new = folder / f"webdataset-{work.corpus.name}-{work.seed}".replace(" ", "-")
    new.mkdir()
    urls = [f"pipe:curl -sf {shard}" for shard in work.corpus.shards]
    stages = {"shardshuffle": 100, "detshuffle": True, "cache_dir": str(new), "empty_check": False}
    return [iter(wds.WebDataset(urls, seed=work.seed + number, **stages).shuffle(1000)) for number in range(2)]


def _twice(loader: WebDataset | Datasets, work: Work) -> list[Iterator[Mapping[str, Any]]]:
    return [loader.samples(replace(work, seed=work.seed + number)) for number in range(2)]
