"""Whether this node can read the data: the first and the last shard of every source, and a sample of each."""

from __future__ import annotations

from typing import cast

from configs.options import Part
from data.sample import Sample
from data.shards import expand
from data.sources import AnySource, build_source, plain_sources
from launch.preflight.report import Result
from train.recipe import Recipe


def readable(recipe: Recipe) -> Result:
    """Read a little of every source of `data`.

    Shards are read where they lie, also where the recipe has a cache: filling it takes long. What is read, and
    the number of shards, must be the same on all nodes.

    Raises:
        DataError: naming what cannot be read.
    """
    result = Result(figures={"bytes per row": 0})
    for split in ("train", "validation"):
        options = getattr(recipe.data, split)
        for key, part in plain_sources(options).items() if options is not None else ():
            num_bytes = _read_ends(part, f"data.{split}{key}", result)
            if split == "train":
                result.figures["bytes per row"] = max(result.figures["bytes per row"], num_bytes)
    return result


def _read_ends(part: Part, where: str, result: Result) -> int:
    """Read the first and the last sample; returns the bytes of the larger one."""
    names = getattr(part, "shards", None)
    if names is not None:
        found = expand(names)
        result.facts[f"shards of {where}"] = len(found)
        part = part.model_copy(update={"shards": list(dict.fromkeys((found[0], found[-1])))})
    source = build_source(cast(AnySource, part))
    result.facts[f"content of {where}"] = f"{source.fingerprint:016x}"
    return max(_bytes_of(source[index]) for index in (0, len(source) - 1))


def _bytes_of(sample: Sample) -> int:
    return sum(field.nbytes for field in sample.values())
