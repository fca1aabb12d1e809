"""Raw samples per second when nothing lies in the page cache: in the order of the shards, by windows, fully shuffled.

Before each repetition the files are synced and dropped from the page cache (`posix_fadvise`, no rights needed). Each
runs in a process of its own, because mapped pages stay, and some loaders never unmap theirs. That it worked is shown
by the bytes which the process then reads from the disk (`/proc/self/io`). A disk below a virtual machine may have
caches of its own that nobody here can empty.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
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

    payload_bytes: tuple[tuple[int, int], ...] = ((2_000, 20_000), (32_000, 8_000), (150_000, 2_000))
    "(bytes, samples)"
    num_shards: int = 8
    window: int = 8192
    run: int = 64
    repetitions: int = 5


QUICK = Sizes(payload_bytes=((2_000, 200),), num_shards=2, window=64, run=8, repetitions=2)


def run(folder: Path, sizes: Sizes) -> Report:
    """Measure; the corpora are written below `folder`."""
    report = Report("Raw samples per second with an empty page cache, one process")
    ours = [Polytrain("none"), Polytrain("window", window=sizes.window, run=sizes.run), Polytrain()]
    for size, num_samples in sizes.payload_bytes:
        corpus = payloads(folder / f"payload-{size}", size, num_samples, sizes.num_shards)
        ready = prepared([*ours, *everybody()], corpus, report.notes)
        rates: dict[str, Callable[[int], float]] = {}
        disk: dict[str, list[float]] = {}
        for name, (contender, _) in ready.items():
            disk[name] = []
            importlib.import_module(getattr(contender, "module", "webdataset"))
            try:
                contender.samples(Work(corpus))
                rates[name] = partial(_rate, contender, corpus, disk[name])
            except CannotError as error:
                report.notes.append(f"{name}: {error}")
        found = interleaved(rates, sizes.repetitions)
        for name, values in found.items():
            report.rows.append(
                {
                    "payload": corpus.name,
                    "loader": name,
                    "samples/s": Spread.of(values),
                    f"of {WEBDATASET}'s": ratios(values, found[WEBDATASET]),
                    "MB/s": Spread.of(value * corpus.sample_bytes / 1e6 for value in values),
                    "read from disk, of the payload": Spread.of(disk[name][1:]),
                }
            )
    return report


def drop_from_page_cache(paths: Iterable[Path]) -> None:
    """Sync files, and let the kernel forget their pages."""
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)


def _rate(contender: Contender, corpus: Corpus, disk: list[float], repetition: int) -> float:
    # Forked: what was imported here needs no import there.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        rate, share = pool.submit(_rate_and_share, contender, corpus, repetition).result()
    disk.append(share)
    return rate


def _rate_and_share(contender: Contender, corpus: Corpus, seed: int) -> tuple[float, float]:
    """Samples per second, and bytes read from the disk per byte of the payload."""
    drop_from_page_cache(path for path in corpus.folder.rglob("*") if path.is_file())
    total, before = 0, _bytes_from_disk()
    started = time.perf_counter()
    for sample in contender.samples(Work(corpus, seed=seed)):
        total += len(sample[corpus.payload])
    seconds = time.perf_counter() - started
    assert total == corpus.payload_bytes, f"{contender.name}: {total} bytes of {corpus.payload_bytes}"
    return corpus.num_samples / seconds, (_bytes_from_disk() - before) / corpus.payload_bytes


def _bytes_from_disk() -> int:
    """What this process has made the disk read."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["read_bytes"])
