"""What an epoch visits: the share of samples seen exactly once, on shards of uneven sizes, by several ranks.

All ranks take equally many batches, as collective operations need. An epoch of `num_samples` is num_samples // ranks
samples of each rank, or, for `split_by_node` by itself, what the rank with the fewest samples has.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import webdataset as wds

from benchmarks.loading.contenders import Work
from benchmarks.loading.corpora import numbered
from benchmarks.loading.figures import Report
from benchmarks.loading.ours import Polytrain, decoded_source
from benchmarks.loading.peers import WebDataset
from data.batches import BatchPlan

Seen = Callable[[Work, int], list[int]]
"(work, ranks) -> the samples of one epoch, over all ranks."


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    world_sizes: tuple[int, ...] = (1, 2, 4, 7)
    num_shards: int = 32
    smallest: int = 50
    largest: int = 450
    micro_rows: int = 8


QUICK = Sizes(world_sizes=(1, 3), num_shards=5, smallest=3, largest=30, micro_rows=2)


def run(folder: Path, sizes: Sizes) -> Report:
    """Measure; the corpus is written below `folder`."""
    generator = np.random.default_rng(0)
    shard_sizes = generator.integers(sizes.smallest, sizes.largest + 1, sizes.num_shards).tolist()
    corpus = numbered(folder / "numbered", shard_sizes)
    report = Report(
        f"One epoch of {corpus.num_samples:,} samples in {len(shard_sizes)} shards of "
        f"{min(shard_sizes)} to {max(shard_sizes)}"
    )
    loaders: dict[str, Seen] = {
        Polytrain().name: ours,
        "webdataset, split_by_node, until the first rank ends": split_until_the_first_ends,
        "webdataset, split_by_node, with_epoch(samples / ranks)": split_with_epoch,
        "webdataset, resampled, with_epoch(samples / ranks)": resampled,
    }
    for world_size in sizes.world_sizes:
        for name, seen in loaders.items():
            found = seen(Work(corpus, rows=sizes.micro_rows), world_size)
            times = np.bincount(found, minlength=corpus.num_samples)
            report.rows.append(
                {
                    "ranks": world_size,
                    "loader": name,
                    "exactly once": float(np.mean(times == 1)),
                    "never": float(np.mean(times == 0)),
                    "more than once": float(np.mean(times > 1)),
                    "drawn": len(found),
                }
            )
    return report


def ours(work: Work, world_size: int) -> list[int]:
    """What the loaders of all ranks draw at the positions of the first epoch."""
    source = decoded_source(work.corpus)
    rows = work.rows * world_size
    steps = -(-work.corpus.num_samples // rows)  # the last one goes over into the next epoch
    found: list[int] = []
    for rank in range(world_size):
        plan = BatchPlan(rows, work.rows, rank, world_size)
        for step, batch in enumerate(Polytrain().steps(source, work, plan, 0, steps)):
            in_epoch = plan.positions(step, 0) < work.corpus.num_samples
            found += batch["id"].numpy()[in_epoch].tolist()
    return found


def split_until_the_first_ends(work: Work, world_size: int) -> list[int]:
    """Whole shards for each rank; every rank stops when the first has no more."""
    shares = [_ids(_pipeline(work, rank, world_size)) for rank in range(world_size)]
    fewest = min(map(len, shares))
    return [number for share in shares for number in share[:fewest]]


def split_with_epoch(work: Work, world_size: int) -> list[int]:
    """Whole shards for each rank; a rank that has no more begins again."""
    share = work.corpus.num_samples // world_size
    pipelines = (_pipeline(work, rank, world_size).repeat() for rank in range(world_size))
    return [number for pipeline in pipelines for number in _ids(pipeline, share)]


def resampled(work: Work, world_size: int) -> list[int]:
    """Shards drawn with replacement, what webdataset recommends for many ranks."""
    share = work.corpus.num_samples // world_size
    found: list[int] = []
    for _ in range(world_size):
        urls = [str(path) for path in work.corpus.shards]
        stages = [wds.ResampledShards(urls, deterministic=False), wds.tarfile_to_samples(), wds.shuffle(1000)]
        found += _ids(wds.DataPipeline(*stages).with_epoch(share), share)
    return found


def ids_of_rank(work: Work, rank: int, world_size: int, start: int, stop: int | None) -> list[int]:
    """Some of the samples that a rank gets by `split_by_node`, in its order."""
    return [int(sample["id"]) for sample in itertools.islice(_pipeline(work, rank, world_size), start, stop)]


def _pipeline(work: Work, rank: int, world_size: int) -> Any:
    @contextmanager
    def environment() -> Iterator[None]:
        before = {name: os.environ.get(name) for name in ("RANK", "WORLD_SIZE")}
        os.environ.update(RANK=str(rank), WORLD_SIZE=str(world_size))
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})

    def split(urls: Iterable[dict[str, str]]) -> Iterator[dict[str, str]]:
        # It looks at the environment when its first item is asked for.
        with environment():
            mine = list(wds.split_by_node(urls))
        yield from mine

    return WebDataset().pipeline(work, split)


def _ids(pipeline: Any, limit: int | None = None) -> list[int]:
    return [int(sample["id"]) for sample in itertools.islice(pipeline, limit)]
