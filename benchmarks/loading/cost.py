"""CPU time per sample: warm page cache, nothing decoded, one process.

Two levels. *samples*: the raw members one after another, shuffled as well as the loader can (ours over the whole
corpus, webdataset with a buffer of 1,000). *batches*: the same, collated into tensors, by the loader's own loop.
The CPU time is that of all threads of the process (`time.process_time`), system calls included.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.loading.contenders import CannotError, Contender, Work, prepared
from benchmarks.loading.corpora import Corpus, payloads
from benchmarks.loading.figures import WEBDATASET, Report, Spread, interleaved, ratios
from benchmarks.loading.ours import Polytrain
from benchmarks.loading.peers import everybody


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    payload_bytes: tuple[int, ...] = (2_000, 32_000, 150_000)
    num_samples: int = 2000
    num_shards: int = 4
    repetitions: int = 7


QUICK = Sizes(payload_bytes=(2_000,), num_samples=128, num_shards=2, repetitions=2)
BAR = "bar: ours at most 1/5 of webdataset's CPU time per sample"


def run(folder: Path, sizes: Sizes) -> Report:
    """Measure; the corpora are written below `folder`."""
    report = Report("CPU time per sample, microseconds: warm page cache, no decoding, one process")
    report.notes.append(BAR)
    for size in sizes.payload_bytes:
        corpus = payloads(folder / f"payload-{size}", size, sizes.num_samples, sizes.num_shards)
        ready = prepared([Polytrain(), *everybody()], corpus, report.notes)
        contenders = {name: contender for name, (contender, _) in ready.items()}
        of_samples = _measured(contenders, corpus, sizes.repetitions, of_samples=True, notes=report.notes)
        of_batches = _measured(contenders, corpus, sizes.repetitions, of_samples=False, notes=report.notes)
        for name, (_, seconds) in ready.items():
            report.rows.append({"payload": corpus.name, "loader": name})
            for level, found in ("samples", of_samples), ("batches", of_batches):
                if name in found:
                    report.rows[-1][f"{level}, us"] = Spread.of(found[name])
                    report.rows[-1][f"{level}, of {WEBDATASET}'s"] = ratios(found[name], found[WEBDATASET])
            report.rows[-1]["to index or convert, us"] = seconds / corpus.num_samples * 1e6
    return report


def _measured(
    contenders: dict[str, Contender], corpus: Corpus, repetitions: int, *, of_samples: bool, notes: list[str]
) -> dict[str, list[float]]:
    measures: dict[str, Callable[[int], float]] = {}
    for name, contender in contenders.items():
        measure = partial(_samples_us if of_samples else _batches_us, contender, corpus)
        try:
            measure(0)
            measures[name] = measure
        except CannotError as error:
            notes.append(f"{name}: {error}")
    return interleaved(measures, repetitions)


def _samples_us(contender: Contender, corpus: Corpus, repetition: int) -> float:
    total = 0
    started = time.process_time()
    for sample in contender.samples(Work(corpus, seed=repetition)):
        total += len(sample[corpus.payload])
    seconds = time.process_time() - started
    assert total == corpus.payload_bytes, f"{contender.name}: {total} bytes of {corpus.payload_bytes}"
    return seconds / corpus.num_samples * 1e6


def _batches_us(contender: Contender, corpus: Corpus, repetition: int) -> float:
    field = next(iter(corpus.fields))
    rows = 0
    started = time.process_time()
    for batch in contender.batches(Work(corpus, seed=repetition)):
        rows += len(batch[field])
    seconds = time.process_time() - started
    assert rows > corpus.num_samples - 64, f"{contender.name}: {rows} rows of {corpus.num_samples}"
    return seconds / rows * 1e6
