"""A batch like those of a recipe: what counting runs a model on.

Texts are full rows of one document each, known from the options. Anything else is read: the first samples of the
source, through its transforms. Where shards are not there (a plan is made before the data are packed), a blank picture
or sound takes the place of what would be decoded, as far as the recipe tells its size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from configs.errors import ConfigError, DataError
from configs.options import Part
from data.audio.options import CropOptions, LogMelOptions, ResampleOptions
from data.cache import storage_of
from data.in_memory import InMemory
from data.loader import Batch, collate
from data.randomness import stream
from data.sample import Sample, Source
from data.sources import SamplesOptions, build_source, plain_sources
from data.text.options import TextSourceOptions
from data.transforms import Transformed
from model.embedders.options import Embedder, PicturesOptions
from train.recipe import Recipe

_SAMPLES = 16
"Samples that are read; further rows repeat them."


def batch_of(recipe: Recipe, rows: int) -> Batch:
    """So many rows of the source trained on; of a mixture, of its first part.

    Raises:
        ConfigError: when shards are not there and the recipe does not tell what they would hold.
        DataError: when they are damaged.
    """
    options = next(iter(plain_sources(recipe.data.train).values()))
    if isinstance(options, TextSourceOptions):
        row: Sample = {name: np.zeros(size or (), dtype=np.int64) for name, size in options.full_row.items()}
        return collate([row] * rows)
    samples = _samples(recipe, options, min(rows, _SAMPLES))
    return collate([samples[number % len(samples)] for number in range(rows)])


def _samples(recipe: Recipe, options: Part, count: int) -> Sequence[Sample]:
    source: Source
    try:
        source = build_source(options, storage_of(recipe.data.cache))  # type: ignore[arg-type]
    except DataError:
        if not isinstance(options, SamplesOptions):
            raise
        raw = _blank(options, list(recipe.model.embedders.values()))
        source = Transformed(InMemory([raw] * count), options.transforms)
    return [source[number % len(source)] for number in range(count)]


def _blank(options: SamplesOptions, embedders: Sequence[Embedder]) -> dict[str, Any]:
    """What decoding would give: noise of the size that the model is meant for, or that the transforms cut out."""
    noise = stream(0, "plan")
    sample: dict[str, Any] = {"label": 0}
    for embedder in embedders:
        if isinstance(embedder, PicturesOptions) and len(embedder.whole) == 2:
            sample["image"] = noise.integers(0, 256, (*embedder.whole, embedder.channels), dtype=np.uint8)
    crop = next((part for part in options.transforms if isinstance(part, CropOptions)), None)
    rates = [part.sample_rate for part in options.transforms if isinstance(part, ResampleOptions | LogMelOptions)]
    if crop is not None and (crop.samples is not None or rates):
        rate = rates[0] if rates else 1
        length = crop.samples or math.ceil((crop.seconds or 0.0) * rate)
        sample |= {"waveform": noise.standard_normal(length, dtype=np.float32), "sample_rate": rate}
    if sample.keys() == {"label"}:
        raise ConfigError(
            f"data.train.shards={list(options.shards)}: not there, and the recipe does not tell how large a sample is. "
            "Pack the shards first; or give a crop its length in `samples`, not in `seconds`."
        )
    return sample
