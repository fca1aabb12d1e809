"""One loader in a fresh process: how long until its first batch in the middle of an epoch. Started by `resume`.

Reads one JSON object from its standard input and writes one to its standard output.
"""

from __future__ import annotations

import importlib
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

LOADERS = ("polytrain", "webdataset, skipping")


def ids_from(loader: str, shards: list[str], num_samples: int, batch: int, rows: int) -> Iterator[list[int]]:
    """The batches of an epoch from number `batch` on, as the ids of their samples."""
    reader: Callable[..., Iterator[list[int]]] = {LOADERS[0]: _polytrain, LOADERS[1]: _webdataset}[loader]
    return reader(shards, num_samples, batch, rows)


def _polytrain(shards: list[str], num_samples: int, batch: int, rows: int) -> Iterator[list[int]]:
    from data.batches import BatchPlan
    from data.loader import TrainLoader
    from data.samples import Samples
    from data.sources import SamplesOptions

    source = Samples(SamplesOptions(shards=shards, fields={"bin": "bin:raw", "id": "id"}))
    plan = BatchPlan(rows, rows, 0, 1)
    loader = TrainLoader(source, seed=0, plan=plan, start=batch, stop=num_samples // rows, workers=0, prefetch=2)
    try:
        for step in loader:
            yield step.micro_batches[0]["id"].tolist()
    finally:
        loader.close()


def _webdataset(shards: list[str], num_samples: int, batch: int, rows: int) -> Iterator[list[int]]:
    """By skipping samples before anything is decoded, the cheapest place."""
    import webdataset as wds

    stages = [wds.SimpleShardList(shards), wds.detshuffle(100, seed=0), wds.tarfile_to_samples()]
    samples = iter(wds.DataPipeline(*stages, wds.detshuffle(1000, seed=0)))
    samples = itertools.islice(samples, batch * rows, num_samples // rows * rows)
    while group := list(itertools.islice(samples, rows)):
        yield [int(sample["id"]) for sample in group]


def main() -> None:
    asked = json.load(sys.stdin)
    spawned = asked.pop("spawned")
    import torch  # everybody does

    torch.set_num_threads(1)
    for module in {LOADERS[0]: ("data.loader", "data.samples"), LOADERS[1]: ("webdataset",)}[asked["loader"]]:
        importlib.import_module(module)
    imported = time.monotonic()
    shards = sorted(map(str, Path(asked.pop("folder")).glob("*.tar")))
    ids = next(ids_from(shards=shards, **asked))
    now = time.monotonic()
    json.dump({"ids": ids, "total_s": now - spawned, "after_imports_s": now - imported}, sys.stdout)


if __name__ == "__main__":
    main()
