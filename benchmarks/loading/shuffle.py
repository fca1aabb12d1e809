"""How well an order is mixed: shards sorted by label, read by the real loaders.

label entropy     bits of the labels within a batch, mean over batches; few bits mean batches of few labels
same shard        share of neighbours in the order that lie in the same shard; 1 / shards for a random order
rank correlation  between the place in the order and the place on disk; 0 for a random order
lag-1             rank correlation of a sample's place on disk with its successor's
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.loading.contenders import CannotError, Contender, Work
from benchmarks.loading.corpora import Corpus, evenly, numbered
from benchmarks.loading.figures import Cell, Report, Spread
from benchmarks.loading.ours import Polytrain
from benchmarks.loading.peers import Datasets, Energon, LitData, Mosaic, WebDataset

Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    num_labels: int = 100
    num_samples: int = 20_000
    num_shards: int = 20
    rows: int = 64
    windows: tuple[tuple[int, int], ...] = ((1024, 64), (8192, 64), (8192, 16))
    "(window, run) of our window shuffle"
    buffers: tuple[int, ...] = (100, 1000, 10_000)
    "of webdataset"
    seeds: int = 5


QUICK = Sizes(num_labels=10, num_samples=400, num_shards=4, rows=16, windows=((64, 8),), buffers=(10, 100), seeds=2)


def run(folder: Path, sizes: Sizes) -> Report:
    """Measure; the corpus is written below `folder`."""
    corpus = numbered(folder / "numbered", evenly(sizes.num_samples, sizes.num_shards))
    report = Report(
        f"{sizes.num_labels} labels, {sizes.num_samples:,} samples in {sizes.num_shards} shards sorted by label, "
        f"batches of {sizes.rows}; median and range over {sizes.seeds} seeds"
    )
    _add(report, "a random permutation", lambda seed: np.random.default_rng(seed).permutation(sizes.num_samples), sizes)
    contenders: list[Contender] = [
        Polytrain(),
        *(Polytrain("window", window=window, run=run) for window, run in sizes.windows),
        *(WebDataset(f"webdataset, shuffle({size:,})", size) for size in sizes.buffers),
        Datasets(),
        LitData(),
        Mosaic(),
        Energon(),
    ]
    for contender in contenders:
        try:
            contender.prepare(corpus)
            _add(report, contender.name, partial(_order, contender, corpus), sizes)
        except CannotError as error:
            report.notes.append(f"{contender.name} left out: {error}")
    return report


def label_entropy(labels: Int64, rows: int) -> float:
    """Mean entropy of the labels of consecutive batches, in bits."""
    entropies = []
    for batch in labels[: len(labels) // rows * rows].reshape(-1, rows):
        shares = np.unique(batch, return_counts=True)[1] / rows
        entropies.append(-(shares * np.log2(shares)).sum())
    return float(np.mean(entropies))


def rank_correlation(first: Int64, second: Int64) -> float:
    """Spearman's; both without ties."""
    return float(np.corrcoef(first.argsort().argsort(), second.argsort().argsort())[0, 1])


def _add(report: Report, name: str, order_of: Callable[[int], Int64], sizes: Sizes) -> None:
    orders = [order_of(seed) for seed in range(sizes.seeds)]
    labels, shards = sizes.num_samples // sizes.num_labels, sizes.num_samples // sizes.num_shards
    row: dict[str, Cell] = {"order": name}
    row["label entropy, bits"] = Spread.of(label_entropy(order // labels, sizes.rows) for order in orders)
    row["same shard"] = Spread.of(float(np.mean(np.diff(order // shards) == 0)) for order in orders)
    row["rank correlation"] = Spread.of(rank_correlation(np.arange(len(order)), order) for order in orders)
    row["lag-1"] = Spread.of(rank_correlation(order[:-1], order[1:]) for order in orders)
    report.rows.append(row)


def _order(contender: Contender, corpus: Corpus, seed: int) -> Int64:
    found = (sample["id"] for sample in contender.samples(Work(corpus, seed=seed)))
    # datasets decodes it by itself.
    ids = [value if isinstance(value, int) else int(bytes(value)) for value in found]
    return np.array(ids, dtype=np.int64)
