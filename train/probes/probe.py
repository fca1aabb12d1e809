"""The interface of probes, and how one is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast

from configs.options import construct
from train.engines.engine import Engine
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


class Probe(Protocol):
    """Measures a model."""

    def measure(self, step: int) -> Figures:
        """The figures after `step` steps, the same on every rank; all ranks call this together."""


def build_probe(options: AnyProbe, context: ProbeContext) -> Probe:
    """The probe that `options` describe."""
    return cast(Probe, construct(options, context))
