"""The interface of probes, and how one is built."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, cast

from configs.options import construct
from train.engines.engine import Engine
from train.interruption import Interruption
from train.probes.options import AnyProbe
from train.recipe import Recipe
from train.world import World

Figures = dict[str, float | int | str]


@dataclass(frozen=True)
class ProbeContext:
    """What a probe may use."""

    recipe: Recipe
    engine: Engine
    micro_rows: int
    world: World
    interruption: Interruption = field(default_factory=Interruption)

    def go_on(self) -> None:
        """Called between batches, by all ranks together: give up where an end was asked for.

        Raises:
            ProbeGivenUp: on every rank.
        """
        if self.world.any(self.interruption.is_asked):
            raise ProbeGivenUp


class ProbeGivenUp(Exception):
    """An end was asked for while measuring. The probe runs again when the run goes on."""


class Probe(Protocol):
    """Measures a model."""

    def measure(self, step: int) -> Figures:
        """The figures after `step` steps, the same on every rank; all ranks call this together."""


def build_probe(options: AnyProbe, context: ProbeContext) -> Probe:
    """The probe that `options` describe."""
    return cast(Probe, construct(options, context))
