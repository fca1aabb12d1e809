"""`Prior`: a source that computes its samples, each from a random stream of its own.

A stream's key is a hash of (seed, kind, index), so no sample depends on those drawn before it, and any rank or
worker can make any sample.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

import numpy as np

from data.priors.options import PriorOptions
from data.randomness import stream
from data.sample import Sample, fingerprint_of

OptionsT = TypeVar("OptionsT", bound=PriorOptions)


class Prior(ABC, Generic[OptionsT]):
    """A `Source` whose samples are drawn by `make`."""

    version: ClassVar[int] = 1
    "To be raised with every change of code that makes other samples from the same options."

    def __init__(self, options: OptionsT) -> None:
        self.options = options

    @abstractmethod
    def make(self, rng: np.random.Generator) -> Sample:
        """One sample, from nothing but the options and `rng`."""

    @property
    def fingerprint(self) -> int:
        """A 63-bit hash of every option and the version of the code; transforms are hashed by who applies them."""
        options = {key: value for key, value in self.options.tree().items() if key != "transforms"}
        content = json.dumps({"version": self.version, "options": options}, sort_keys=True)
        return fingerprint_of(content.encode())

    def __len__(self) -> int:
        return self.options.size

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return self.make(stream(self.options.seed, self.options.kind, int(index)))


def between(rng: np.random.Generator, low: int, high: int) -> int:
    """A uniform integer in [low, high], both ends included."""
    return int(rng.integers(low, high, endpoint=True))
