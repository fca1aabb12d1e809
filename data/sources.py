"""`Source`: `len(source)` and `source[index] -> Sample`, a pure function of the index.

Options of every source are here, those of priors in `data.priors.options` (both import nothing heavy);
each names the class that it builds.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, ClassVar, Literal, Protocol, Self, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from configs.options import Kind, Options, Part, construct
from data.priors.options import AnyPrior

Sample = dict[str, NDArray[np.generic]]
"Named fields of one example."


class Source(Protocol):
    """Where samples come from."""

    def __len__(self) -> int:
        """Samples of one epoch."""

    def __getitem__(self, index: int) -> Sample:
        """The sample at `index`, the same at every call and on every machine."""

    @property
    def fingerprint(self) -> int:
        """A hash in [0, 2^63) of everything that decides what `source[index]` is."""


def fingerprint_of(content: bytes) -> int:
    """The fingerprint of a source that is described in full by `content`: 63 bits of its sha256."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little") >> 1


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class TokenWindowsOptions(Part):
    """Windows over the concatenated, tokenised documents of webdataset shards."""

    kind: Literal["token_windows"] = "token_windows"
    shards: Annotated[list[str], BeforeValidator(_listed, json_schema_input_type=str | list[str])]
    "Shard names: paths, globs and braces, such as shards/quickstart/train-{000000..000003}.tar."
    length: int = Field(gt=0)
    "Input tokens per sequence."

    builds: ClassVar[str] = "data.windows:TokenWindows"


PlainSource = Annotated[TokenWindowsOptions | AnyPrior, Kind()]
"Any source but a mixture."


class MixturePart(Options):
    """One part of a mixture."""

    source: PlainSource
    "Its samples."
    weight: float = Field(default=1.0, ge=0)
    "How often it is drawn, relative to the others."


class MixtureStage(Options):
    """Other weights from a step on."""

    step: int = Field(gt=0)
    "Steps already taken when these weights begin."
    weights: dict[str, float]
    "The weight of every part."


class MixtureOptions(Part):
    """Several sources in exact proportions, which may change with the step."""

    kind: Literal["mixture"] = "mixture"
    parts: dict[str, MixturePart] = Field(min_length=1)
    "The parts by name."
    alpha: float | None = Field(default=None, ge=0)
    "Multiply the weights by size^alpha (Conneau et al. 2020, XLM-R: 0.3). Null leaves the sizes out."
    block: int = Field(default=1024, gt=0)
    "Rows in which the proportions hold exactly (rounded to whole rows)."
    stages: list[MixtureStage] = Field(default_factory=list)
    "A curriculum: other weights from later steps on."

    builds: ClassVar[str] = "data.mixture:Mixture"

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        for where, weights in [
            ("parts", {name: part.weight for name, part in self.parts.items()}),
            *((f"stages (step {stage.step})", stage.weights) for stage in self.stages),
        ]:
            if weights.keys() != self.parts.keys():
                raise ValueError(f"{where}: names {', '.join(weights)}, the parts are {', '.join(self.parts)}")
            if min(weights.values()) < 0 or not sum(weights.values()) > 0:
                raise ValueError(f"{where}: weights must not be negative, and one must be above 0: {weights}")
        steps = [stage.step for stage in self.stages]
        if len(set(steps)) != len(steps):
            raise ValueError(f"stages: the same step twice: {steps}")
        return self


AnySource = Annotated[TokenWindowsOptions | MixtureOptions | AnyPrior, Kind()]


class DataOptions(Options):
    """What is read, and how."""

    train: AnySource
    "The samples trained on."
    validation: AnySource | None = None
    "Held-out samples, for probes."
    tokenizer: str | None = None
    "A tokenizer.json, for probes, generation and export of text models."
    workers: int = Field(default=0, ge=0)
    "Loader processes per rank; 0 loads in a thread of the training process."
    prefetch: int = Field(default=8, gt=0)
    "Steps loaded ahead. Lower it where a batch is so large that eight do not fit in memory."


def plain_sources(options: AnySource) -> dict[str, Part]:
    """The sources behind `options`, by their key below it ("" where it is one itself)."""
    if isinstance(options, MixtureOptions):
        return {f".parts.{name}.source": part.source for name, part in options.parts.items()}
    return {"": options}


def build_source(options: AnySource) -> Source:
    """The source that `options` describe."""
    return cast(Source, construct(options))
