"""The interface of engines, and how one is built."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol, cast

import torch
from torch import Tensor

from configs.options import construct
from data.loader import Batch
from train.engines.options import AnyEngine
from train.objectives.objective import Objective
from train.options import AdamWOptions
from train.state import Fragment, StateSource
from train.world import World

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class EngineRequest:
    """What an engine is built for."""

    build_objective: Callable[[], Objective]
    optimizer: AdamWOptions
    precision: Literal["float32", "bf16", "int8"]
    clip_norm: float | None
    num_micro: int
    "Micro-batches per step and rank."
    micro_rows: int
    compile: bool
    recompute: bool
    world: World
    autocasts: bool = False
    "Of int8: whether what is not in 8 bits is bf16, over float32 weights."


class Engine(Protocol):
    """Takes optimizer steps. Every method is called by all ranks together."""

    objective: Objective
    "The module itself; call the engine's methods, not its forward, except for `logits` and the like."

    @property
    def shapes(self) -> Shapes:
        """Unsharded shapes of all parameters, frozen ones too, in a fixed order."""

    def load(self, source: StateSource) -> None:
        """Take weights and optimizer state from `source`. Called once, before the first step."""

    def fragments(self) -> Iterator[Fragment]:
        """The state that lives on this rank."""

    def forward_backward(self, micro_batches: Sequence[Batch], num_targets: int) -> Tensor:
        """Accumulate the gradient of the global mean loss.

        Args:
            micro_batches: this rank's share of the global batch.
            num_targets: targets of the whole global batch, over all ranks.

        Returns:
            The sum of this rank's losses, detached.
        """

    def step(self, lr: float) -> Tensor | float:
        """Clip, take one optimizer step, clear gradients. Returns the gradient norm before clipping."""

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """The objective's sums on `batch`, without gradients, in evaluation mode."""

    def evaluating(self) -> AbstractContextManager[None]:
        """Evaluation mode and no gradients, for several calls."""

    def blocked_s(self) -> float:
        """Seconds, since it was built, that collectives held up this rank (`train.engines.blocked`)."""

    def bytes_held(self) -> dict[str, int]:
        """Bytes of live tensors on this rank: "parameters", "master_weights", "moments"."""


def build_engine(options: AnyEngine, request: EngineRequest) -> Engine:
    """The engine that `options` describe, checked to be what they ask for."""
    return cast(Engine, construct(options, request))


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Copy a (pinned) batch without waiting for the copy."""
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


def sum_of(losses: Sequence[Tensor]) -> Tensor:
    """The sum of a few scalars; of one, itself."""
    return losses[0] if len(losses) == 1 else torch.stack(list(losses)).sum()


def storage_bytes(tensors: Sequence[Tensor]) -> int:
    """Bytes of the distinct storages behind `tensors`."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())
