"""`Sample`: what a source yields, and the protocols of sources and transforms."""

from __future__ import annotations

import hashlib
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from configs.errors import DataError

Sample = dict[str, NDArray[np.generic]]
"""Named fields of one example. Texts are arrays without dimensions (`numpy.array("text")`). By convention

    image        [H, W, C] uint8 as decoded, C in (1, 3, 4); [C, H, W] float32 once normalised
    waveform     [T] float32 in [-1, 1], one channel; sample_rate [] int64 beside it
    spectrogram  [T, F] float32
    features     [R, C] float32, rows and columns of a table; missing cells are NaN
    label        [] int64, or [R] int64 for tables
    text         [] str
    tokens       [T] int32
"""


class SampleError(DataError):
    """One sample cannot be read or decoded. Others may be fine: the loader's policy decides what happens.

    The message names the shard and the key (or the file) and says what is wrong.
    """


class Source(Protocol):
    """Where samples come from."""

    def __len__(self) -> int:
        """Samples of one epoch."""

    def __getitem__(self, index: int) -> Sample:
        """The sample at `index`, the same at every call and on every machine.

        Raises:
            SampleError: when this one cannot be had.
        """

    @property
    def fingerprint(self) -> int:
        """A hash in [0, 2^63) of everything that decides what `source[index]` is."""


@runtime_checkable
class RandomSource(Protocol):
    """A source whose samples are also a function of a random stream (crops, masks, noise)."""

    def draw(self, index: int, generator: np.random.Generator) -> Sample:
        """The sample at `index`, every random choice taken from `generator`."""


class Transform(Protocol):
    """Sample -> Sample. Built from its options; holds no state that changes."""

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """A new sample; `sample` and its arrays are left as they are.

        All randomness is drawn from `generator`, never from global generators: the loader runs in a
        thread of the training process, and what is drawn must depend on nothing but the position.

        Raises:
            SampleError: when the sample is not what the transform expects (an empty waveform, say).
        """


def fingerprint_of(content: bytes) -> int:
    """The fingerprint of a source that is described in full by `content`: 63 bits of its sha256."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little") >> 1
