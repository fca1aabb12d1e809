"""Samples per second with decoding, by 1 and 2 worker processes: images and small texts.

The same function decodes on both sides (Pillow for images), batches have the same size and arrive as tensors, and every
loader keeps two batches per worker ahead. Timed from one batch near the beginning of an epoch, when workers have
started, to one near its end; the time to the first batch is given by itself, and so is the processor time that worker
processes took in between, which says more than the rate where other programs run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from benchmarks.loading.contenders import CannotError, Contender, Work, prepared
from benchmarks.loading.corpora import Corpus, images, texts, tokens
from benchmarks.loading.figures import WEBDATASET, Report, Spread, interleaved, ratios
from benchmarks.loading.ours import Polytrain
from benchmarks.loading.peers import everybody


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    workers: tuple[int, ...] = (1, 2)
    rows: int = 32
    images: tuple[tuple[int, int, int], ...] = ((320, 90, 3000), (640, 90, 1500))
    "(side, JPEG quality, samples)"
    texts: int = 40_000
    num_shards: int = 8
    warm_batches: int = 8
    repetitions: int = 5


QUICK = Sizes(workers=(1,), rows=8, images=((64, 85, 128),), texts=256, num_shards=2, warm_batches=4, repetitions=2)
BAR = "bars: at least webdataset's rate on images, at least 1.5 times its rate on small texts"


def run(folder: Path, sizes: Sizes) -> Report:
    """Measure; the corpora are written below `folder`."""
    report = Report("Samples per second, decoded and collated")
    report.notes.append(BAR)
    corpora = [
        *(images(folder / f"images-{side}", side, quality, n, sizes.num_shards) for side, quality, n in sizes.images),
        texts(folder / "texts", sizes.texts, sizes.num_shards),
        tokens(folder / "tokens", sizes.texts, sizes.num_shards),
    ]
    for corpus in corpora:
        ready = prepared([Polytrain(), *everybody()], corpus, report.notes)
        for workers in sizes.workers:
            _measure(report, corpus, {name: contender for name, (contender, _) in ready.items()}, workers, sizes)
    return report


def _measure(report: Report, corpus: Corpus, contenders: dict[str, Contender], workers: int, sizes: Sizes) -> None:
    rates: dict[str, Callable[[int], float]] = {}
    firsts: dict[str, list[float]] = {}
    costs: dict[str, list[float]] = {}
    for name, contender in contenders.items():
        firsts[name], costs[name] = [], []
        work = Work(corpus, sizes.rows, workers)
        measure = partial(_rate, contender, work, sizes.warm_batches, firsts[name], costs[name])
        try:
            contender.batches(Work(corpus))
            rates[name] = measure
        except CannotError as error:
            report.notes.append(f"{name}: {error}")
    found = interleaved(rates, sizes.repetitions)
    for name, values in found.items():
        report.rows.append(
            {
                "samples": corpus.name,
                "workers": workers,
                "loader": name,
                "samples/s": Spread.of(values),
                f"of {WEBDATASET}'s": ratios(values, found[WEBDATASET]),
                "worker CPU, ms/sample": Spread.of(costs[name][1:]),
                "first batch after, s": Spread.of(firsts[name][1:]),
            }
        )


def _rate(
    contender: Contender, work: Work, warm: int, firsts: list[float], costs: list[float], repetition: int
) -> float:
    """Samples per second between batch `warm` and the same number of batches before the end."""
    marks, used = [], []
    started = time.perf_counter()
    batches = contender.batches(Work(work.corpus, work.rows, work.workers, seed=repetition))
    last = work.corpus.num_samples // work.rows - warm
    assert last > warm, "too few batches"
    for batch in batches:
        assert len(batch[next(iter(work.corpus.fields))]) == work.rows
        marks.append(time.perf_counter())
        if len(marks) in (warm + 1, last + 1):
            used.append(_worker_seconds())
        if len(marks) > last:
            break
    close = getattr(batches, "close", None)
    if close is not None:
        close()
    firsts.append(marks[0] - started)
    num_samples = (last - warm) * work.rows
    costs.append((used[1] - used[0]) / num_samples * 1e3)
    return num_samples / (marks[last] - marks[warm])


def _worker_seconds() -> float:
    """Processor time of all child processes so far."""
    times = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return sum(each.user + each.system for each in times)
