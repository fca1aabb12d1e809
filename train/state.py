"""Training state as named fragments, however an engine shards it.

The state of a run is, for every parameter, its float32 weight and its optimizer moments, and the
step. An engine lists the fragments that live on its rank: flat ranges of those tensors. Saving
writes the fragments; loading fills them from anything that can be asked for a range of a named
tensor: a checkpoint, whatever world and engine wrote it, or the initial weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

WEIGHT = "weight"
"The field under which the float32 value of a parameter is stored."


@dataclass(frozen=True)
class Fragment:
    """A flat range of one parameter's state, on this rank."""

    name: str
    start: int
    weight: Tensor
    "Writable flat view, float32 where it is trained."
    moments: dict[str, Tensor]
    "Writable flat views of the optimizer state, by torch's names; none where it is frozen."
    is_written: bool = True
    "Whether this rank saves it (of replicated state, one rank does)."

    @property
    def fields(self) -> dict[str, Tensor]:
        """All tensors of the fragment by field name."""
        return {WEIGHT: self.weight, **self.moments}


class StateSource(Protocol):
    """Where state comes from."""

    @property
    def step(self) -> int:
        """Optimizer steps that led to this state."""

    def read(self, field: str, name: str, start: int, numel: int) -> Tensor:
        """A flat float32 range of a named tensor."""


class InitialWeights:
    """The state before the first step: a pure function of the seed."""

    step = 0

    def __init__(
        self, initial_value: Callable[[str, Sequence[int], int], Tensor], shapes: dict[str, tuple[int, ...]], seed: int
    ) -> None:
        self._initial_value = initial_value
        self._shapes = shapes
        self._seed = seed
        self._last: tuple[str, Tensor] = ("", torch.empty(0))

    def read(self, field: str, name: str, start: int, numel: int) -> Tensor:
        """A flat range of the initial value; moments start at zero."""
        if field != WEIGHT:
            return torch.zeros(numel)
        if self._last[0] != name:
            self._last = (name, self._initial_value(name, self._shapes[name], self._seed).flatten())
        return self._last[1][start : start + numel]


@torch.no_grad()
def fill(fragments: Iterable[Fragment], source: StateSource) -> None:
    """Overwrite every tensor of every fragment from `source`."""
    for fragment in fragments:
        for field_name, tensor in fragment.fields.items():
            tensor.copy_(source.read(field_name, fragment.name, fragment.start, tensor.numel()))
