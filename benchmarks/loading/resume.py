"""Seconds from the start of a process to its first batch in the middle of an epoch, and what a restart costs.

Each time is that of a fresh process (`first_batch.py`), whose batch is compared with the one that an uninterrupted
epoch has at that place. webdataset has no place to start from: it skips samples, undecoded, which is the cheapest way.

Repeated and lost: an epoch read by some ranks, interrupted, and read to its end by the same or another number of
ranks. Ours starts at the step; webdataset's ranks each skip their share of what was read (`split_by_node`,
deterministic shuffles).
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.loading import coverage
from benchmarks.loading.contenders import Work
from benchmarks.loading.corpora import Corpus, Field, as_bytes, evenly, numbered, write_corpus
from benchmarks.loading.figures import Cell, Report, Spread, interleaved
from benchmarks.loading.first_batch import LOADERS, ids_from
from benchmarks.loading.ours import Polytrain, decoded_source
from data.batches import BatchPlan


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    num_samples: int = 100_000
    payload_bytes: int = 2_000
    num_shards: int = 20
    rows: int = 64
    places: tuple[float, ...] = (0.1, 0.5, 0.9)
    world_sizes: tuple[int, int] = (2, 4)
    "Before and after the restart."
    restart_samples: int = 4096
    repetitions: int = 5
    warm_up: int = 1


QUICK = Sizes(
    num_samples=256, num_shards=4, rows=8, places=(0.5,), world_sizes=(1, 2), restart_samples=64, repetitions=1,
    warm_up=0,
)  # fmt: skip

Restart = Callable[[Work, int, int, int], list[int]]
"(work, steps before, ranks before, ranks after) -> the samples of the whole epoch."


def run(folder: Path, sizes: Sizes) -> Report:
    """Measure; the corpora are written below `folder`."""
    corpus = _corpus(folder / "payloads", sizes)
    small = numbered(folder / "numbered", evenly(sizes.restart_samples, sizes.num_shards))
    report = Report(f"Start in the middle of an epoch of {sizes.num_samples:,} samples of {corpus.name}")
    restarts: dict[str, Restart] = dict(zip(LOADERS, (_restart_ours, _restart_webdataset), strict=True))
    before, other = sizes.world_sizes
    for place in sizes.places:
        found: dict[str, list[tuple[float, bool]]] = {name: [] for name in LOADERS}
        batch = int(corpus.num_samples // sizes.rows * place)
        measures = {
            name: partial(
                _first_batch, name, corpus, batch, _uninterrupted(name, corpus, batch, sizes.rows), found[name]
            )
            for name in LOADERS
        }
        times = interleaved(measures, sizes.repetitions, warm_up=sizes.warm_up)
        for name in LOADERS:
            row: dict[str, Cell] = {
                "at": f"{place:.0%}",
                "loader": name,
                "process to first batch, s": Spread.of(times[name]),
                "of it after imports, s": Spread.of(seconds for seconds, _ in found[name][sizes.warm_up :]),
                "right batches": f"{sum(right for _, right in found[name])} of {len(found[name])}",
            }
            for after in (before, other):
                steps = int(small.num_samples // (sizes.rows * before) * place)
                ids = restarts[name](Work(small, rows=sizes.rows // before), steps, before, after)
                seen = np.bincount(ids, minlength=small.num_samples)
                what = f"{before} -> {after} ranks"
                row[f"repeated / lost, {what}"] = f"{np.sum(seen > 1)} / {np.sum(seen == 0)} of {small.num_samples:,}"
            report.rows.append(row)
    return report


def _corpus(folder: Path, sizes: Sizes) -> Corpus:
    generator = np.random.default_rng(0)
    samples = ({"bin": generator.bytes(sizes.payload_bytes), "id": b"%d" % n} for n in range(sizes.num_samples))
    fields = {"bin": Field("bin", as_bytes, "bin:raw"), "id": Field("id", int, "id")}
    name = f"{sizes.payload_bytes / 1000:g} KB"
    return write_corpus(name, folder, samples, evenly(sizes.num_samples, sizes.num_shards), fields)


def _uninterrupted(loader: str, corpus: Corpus, batch: int, rows: int) -> list[int]:
    """The batch with this number of an epoch that is read from its beginning."""
    batches = ids_from(loader, [str(path) for path in corpus.shards], corpus.num_samples, 0, rows)
    return next(itertools.islice(batches, batch, None))


def _first_batch(
    loader: str, corpus: Corpus, batch: int, expected: list[int], found: list[tuple[float, bool]], _repetition: int
) -> float:
    """Seconds from the start of a process to its first batch; appends those after imports, and whether it is right."""
    asked = {
        "loader": loader,
        "folder": str(corpus.folder.resolve()),
        "num_samples": corpus.num_samples,
        "rows": len(expected),
    }
    text = json.dumps({**asked, "batch": batch, "spawned": time.monotonic()})
    command = [sys.executable, "-m", "benchmarks.loading.first_batch"]
    root = Path(__file__).parents[2]
    output = subprocess.run(command, cwd=root, input=text, stdout=subprocess.PIPE, check=True, text=True).stdout
    answer = json.loads(output.splitlines()[-1])
    found.append((answer["after_imports_s"], answer["ids"] == expected))
    return float(answer["total_s"])


def _restart_ours(work: Work, steps: int, before: int, after: int) -> list[int]:
    """Steps of `work.rows * before` rows, by `before` ranks and then by `after`."""
    source = decoded_source(work.corpus)
    rows = work.rows * before
    last = work.corpus.num_samples // rows
    found: list[int] = []
    for world_size, start, stop in (before, 0, steps), (after, steps, last):
        for rank in range(world_size):
            plan = BatchPlan(rows, rows // world_size, rank, world_size)
            for batch in Polytrain().steps(source, work, plan, start, stop):
                found += batch["id"].tolist()
    return found


def _restart_webdataset(work: Work, steps: int, before: int, after: int) -> list[int]:
    read = steps * work.rows  # by each rank
    found = [number for rank in range(before) for number in coverage.ids_of_rank(work, rank, before, 0, read)]
    skipped = read * before // after
    return found + [
        number for rank in range(after) for number in coverage.ids_of_rank(work, rank, after, skipped, None)
    ]
