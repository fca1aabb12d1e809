"""`InMemory`: a source over samples that a program holds already.

loader = TrainLoader(InMemory([{"tokens": np.arange(9)}, ...]), seed=0, plan=..., ...)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from configs.errors import DataError
from data.sample import Sample, fingerprint_of


class InMemory:
    """A `Source` of samples in memory. Lists and numbers become arrays; arrays are not copied, and must not change."""

    def __init__(self, samples: Sequence[Mapping[str, ArrayLike]]) -> None:
        if not len(samples):
            raise DataError("InMemory: no samples.")
        self._samples = [_sample(number, fields) for number, fields in enumerate(samples)]
        self._fingerprint = fingerprint_of(b"".join(map(_digest, self._samples)))

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return dict(self._samples[index])

    @property
    def fingerprint(self) -> int:
        """A hash of every field's name, type, shape and content."""
        return self._fingerprint


def _sample(number: int, fields: Mapping[str, ArrayLike]) -> Sample:
    sample: Sample = {}
    for name, value in fields.items():
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise DataError(f"InMemory: sample {number}, field '{name}': {error}") from None
        if array.dtype.kind not in "biufcU":
            raise DataError(f"InMemory: sample {number}, field '{name}': {array.dtype}, expected numbers or text.")
        # A view of our own that cannot be written: the caller's array stays as it is.
        sample[name] = array.view()
        sample[name].flags.writeable = False
    return sample


def _digest(sample: Sample) -> bytes:
    digest = hashlib.sha256()
    for name in sorted(sample):
        array = sample[name]
        digest.update(repr((name, array.dtype.str, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()
