"""Which ways of spreading a recipe fit a cluster, and which of them is the fastest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from configs.errors import ConfigError
from train.plan.memory import memory_of
from train.plan.quantities import Layout, Memory, Precision, Workload
from train.plan.time import Case, Cluster, Software, Step, step_time

Zero = Literal[0, 1, 2, 3]
Offload = Literal["none", "optimizer", "all"]

MEMORY_USABLE = 0.92
"Of a device's memory, for what is counted: CUDA's context, NCCL and what the allocator cannot use take the rest."
TIE = 0.02
"Layouts this close in time are alike, and the simplest of them is the best."


@dataclass(frozen=True)
class Candidate:
    """One layout with the largest micro-batch that fits, or with one row where nothing fits."""

    layout: Layout
    memory: Memory
    fits: bool
    step: Step
    simplicity: int
    "Rank in the table, which goes from simple to involved."

    def overrides(self) -> list[str]:
        """The keys of a recipe that ask for it."""
        layout = self.layout
        keys = ["engine.kind=deepspeed", f"engine.zero={layout.zero}", f"engine.offload={layout.offload}"]
        return [
            *keys,
            f"batch.micro={layout.micro_rows}",
            f"train.recompute={'blocks' if layout.recompute else 'none'}",
        ]


@dataclass(frozen=True)
class Question:
    """What is to be planned."""

    workload_of: Callable[[Zero], Workload]
    "By the ZeRO stage, for it decides how bf16 comes in."
    cluster: Cluster
    global_rows: int
    precision: Precision
    software: Software

    def timed(self, candidate: Candidate, case: Case) -> Step:
        """The step at one end of the range of efficiencies."""
        layout = candidate.layout
        workload = self.workload_of(layout.zero)
        return step_time(workload, layout, self.cluster, self.global_rows, self.software, case)


def candidates(question: Question) -> list[Candidate]:
    """Every ZeRO stage, offload and recomputation that an engine takes, from simple to involved.

    Raises:
        ConfigError: when the batch cannot be divided among the GPUs, or they lack the precision.
    """
    sizes = micro_sizes(question.global_rows, question.cluster.world_size)
    found: list[Candidate] = []
    for offload in get_args(Offload):
        for recompute in (False, True):
            for zero in get_args(Zero):
                if is_possible(zero, offload):
                    found.append(_candidate(question, sizes, zero, offload, recompute, len(found)))
    return found


def is_possible(zero: Zero, offload: Offload) -> bool:
    """What `train.engines.options` accepts."""
    return offload == "none" or zero == 3 or (offload == "optimizer" and zero > 0)


def best(found: Sequence[Candidate]) -> Candidate | None:
    """The simplest of the fastest that fit, or None."""
    fitting = [item for item in found if item.fits]
    if not fitting:
        return None
    limit = min(item.step.seconds for item in fitting) * (1 + TIE)
    return min((item for item in fitting if item.step.seconds <= limit), key=lambda item: item.simplicity)


def micro_sizes(global_rows: int, world_size: int) -> list[int]:
    """Rows of a micro-batch that divide a rank's share of the batch, ascending.

    Raises:
        ConfigError: when ranks would get unequal shares.
    """
    if global_rows % world_size:
        below = global_rows - global_rows % world_size
        fitting = " or ".join(str(size) for size in (below, below + world_size) if size)
        raise ConfigError(
            f"batch.global={global_rows} cannot be divided among {world_size} GPUs; take batch.global={fitting}."
        )
    share = global_rows // world_size
    small = [size for size in range(1, math.isqrt(share) + 1) if share % size == 0]
    return sorted({*small, *(share // size for size in small)})


def _candidate(
    question: Question, sizes: Sequence[int], zero: Zero, offload: Offload, recompute: bool, simplicity: int
) -> Candidate:
    cluster, workload = question.cluster, question.workload_of(zero)
    smallest = Layout(cluster.world_size, cluster.gpus_per_node, zero, offload, recompute, question.precision, sizes[0])
    usable = MEMORY_USABLE * cluster.gpu.memory
    layouts = [replace(smallest, micro_rows=size) for size in sizes]
    fitting = [layout for layout in layouts if memory_of(workload, layout).device <= usable]
    layout = fitting[-1] if fitting else smallest
    step = step_time(workload, layout, cluster, question.global_rows, question.software)
    return Candidate(layout, memory_of(workload, layout), bool(fitting), step, simplicity)
