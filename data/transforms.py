"""A source and the transforms applied to its samples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, cast

import numpy as np
from pydantic import Field

from configs.errors import DataError
from configs.options import Kind, Part, construct
from data.audio.options import AnyAudioTransform
from data.images.options import AnyImageTransform
from data.randomness import stream_at
from data.sample import RandomSource, Sample, SampleError, Source, Transform, fingerprint_of
from data.tables.options import AnyTableTransform


class KeepOptions(Part):
    """Keep some fields and drop the others."""

    kind: Literal["keep"] = "keep"
    fields: list[str] = Field(min_length=1)
    "The fields to keep."

    builds: ClassVar[str] = "data.transforms:Keep"


AnyTransform = Annotated[KeepOptions | AnyImageTransform | AnyAudioTransform | AnyTableTransform, Kind()]
"Any transform of a sample."


class Keep:
    """A `Transform` that keeps the named fields."""

    def __init__(self, options: KeepOptions) -> None:
        self._fields = options.fields

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        missing = [name for name in self._fields if name not in sample]
        if missing:
            raise DataError(f"keep: no field {', '.join(missing)}; the sample has {', '.join(sample)}.")
        return {name: sample[name] for name in self._fields}


class Transformed:
    """A `Source` whose samples go through transforms in turn.

    `draw` takes every random choice from the generator it is given. `source[index]` draws from one keyed by
    the index, so a held-out sample is always cut and masked the same way.
    """

    def __init__(self, source: Source, options: Sequence[Part]) -> None:
        self.source = source
        self._options = options
        self._transforms = [cast(Transform, construct(part)) for part in options]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        return self.draw(index, stream_at(0, index))

    def draw(self, index: int, generator: np.random.Generator) -> Sample:
        """The sample at `index`, transformed."""
        sample = draw(self.source, index, generator)
        for part, transform in zip(self._options, self._transforms, strict=True):
            try:
                sample = transform(sample, generator)
            except KeyError as error:
                raise DataError(
                    f"transform {part.kind}: reads the field {error}; the sample has {', '.join(sample)}."
                ) from None
            except SampleError as error:
                raise SampleError(f"{name_of(self.source, index)}: transform {part.kind}: {error}") from None
        return sample

    @property
    def fingerprint(self) -> int:
        """A hash of the source and the transforms."""
        described = json.dumps([part.tree() for part in self._options], sort_keys=True)
        return fingerprint_of(f"{self.source.fingerprint} {described}".encode())

    def name(self, index: int) -> str:
        """Where the sample at `index` comes from."""
        return name_of(self.source, index)


def draw(source: Source, index: int, generator: np.random.Generator) -> Sample:
    """The sample at `index`, with random choices from `generator` where the source makes any."""
    return source.draw(index, generator) if isinstance(source, RandomSource) else source[index]


def name_of(source: Source, index: int) -> str:
    """What to call the sample at `index` in a message."""
    name = getattr(source, "name", None)
    return name(index) if callable(name) else f"sample {index}"
