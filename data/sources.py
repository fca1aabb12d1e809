"""`Source`: `len(source)` and `source[index] -> Sample`, a pure function of the index.

Options of every source are here, those of priors in `data.priors.options` (both import nothing heavy);
each names the class that it builds.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

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


AnySource = Annotated[TokenWindowsOptions | AnyPrior, Kind()]


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


def build_source(options: AnySource) -> Source:
    """The source that `options` describe."""
    return cast(Source, construct(options))
