"""What every loader must do to take part."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from benchmarks.loading.corpora import Corpus, Field


class CannotError(Exception):
    """This loader cannot do what is measured; the message says why and stands below the table."""


@dataclass(frozen=True)
class Work:
    """What is asked of a loader: an epoch of a corpus."""

    corpus: Corpus
    rows: int = 64
    workers: int = 0
    seed: int = 0


class Contender(Protocol):
    """A loader."""

    name: str

    def prepare(self, corpus: Corpus) -> float:
        """Make the corpus readable. Returns the seconds it took: 0 for those that read the tars as they are.

        Raises:
            CannotError: when it cannot be had here.
        """

    def samples(self, work: Work) -> Iterator[Mapping[str, Any]]:
        """One epoch of undecoded samples in the best order it has, in this process: extension -> bytes."""

    def batches(self, work: Work) -> Iterator[Mapping[str, Any]]:
        """One epoch of batches of decoded samples, as tensors: field -> [rows, ...]."""


AnyContender = TypeVar("AnyContender", bound=Contender)


class Decode:
    """Extension -> bytes becomes field -> value."""

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self._fields = dict(fields)

    def __call__(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        return {name: field.decode(sample[field.extension]) for name, field in self._fields.items()}


def require(module: str, package: str) -> None:
    """Raise `CannotError` where a module is not installed (so that importing it is not attempted)."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        if importlib.util.find_spec(".".join(parts[:depth])) is None:
            raise CannotError(f"{package} is not installed")


def prepared(
    contenders: Sequence[AnyContender], corpus: Corpus, notes: list[str]
) -> dict[str, tuple[AnyContender, float]]:
    """Those that can read the corpus and the seconds they took for it; a note about each of the others."""
    ready: dict[str, tuple[AnyContender, float]] = {}
    for contender in contenders:
        try:
            ready[contender.name] = contender, contender.prepare(corpus)
        except CannotError as error:
            notes.append(f"{contender.name} left out: {error}")
    return ready
