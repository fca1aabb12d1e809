"""Packed tables: shards written by plain webdataset from what a packer gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import webdataset

from data.index import write_index
from data.packing.tables.options import TablePackOptions
from data.packing.tables.packer import TablePacker

Pack = Callable[..., Path]


@pytest.fixture(scope="session")
def pack(fresh: Callable[[str], Path]) -> Pack:
    """Packs tables, given as text by name, into shards of `per_shard` samples; returns their folder."""

    def write(tables: dict[str, str], per_shard: int = 3, **options: object) -> Path:
        corpus = fresh("corpus")
        corpus.mkdir()
        for name, text in tables.items():
            (corpus / f"{name}.csv").write_text(text)
        built = TablePackOptions.model_validate({"corpus": str(corpus)} | options)
        packer = TablePacker(built, corpus)
        folder = fresh("packed")
        folder.mkdir()
        items = list(packer.items())
        for shard, first in enumerate(range(0, len(items), per_shard)):
            path = folder / f"train-{shard:06d}.tar"
            with webdataset.TarWriter(str(path)) as writer:
                for number, item in enumerate(items[first : first + per_shard], first):
                    writer.write({"__key__": f"{number:06d}", **packer.encode(item).members})
            write_index(path)
        for name, content in packer.files().items():
            (folder / name).write_bytes(content)
        return folder

    return write


def flowers(rows: int, seed: int = 0) -> str:
    """A table: `kind` (three classes, the third rare, some missing) follows from `width`; `site` does not."""
    rng = np.random.default_rng(seed)
    lines = ["number,width,kind,site,height"]
    for number in range(rows):
        kind = rng.choice(3, p=[0.5, 0.4, 0.1])
        name = "" if rng.random() < 0.1 else ["rose", "iris", "lily"][kind]
        height = "" if rng.random() < 0.3 else f"{rng.normal():.3f}"
        lines.append(f"{number},{kind * 10 + rng.random():.3f},{name},{rng.choice(['n', 's'])},{height}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def flower_folder(pack: Pack) -> Path:
    """400 rows in chunks of 50. Read only."""
    return pack({"flowers": flowers(400)}, rows_per_sample=50, target="kind")
