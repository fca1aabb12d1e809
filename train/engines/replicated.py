"""What engines share where every rank holds the whole module: building it, its gradients and its state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from train.engines.engine import EngineRequest, storage_bytes
from train.objectives.objective import Objective
from train.optimizer import MOMENTS
from train.state import Fragment


def materialised(request: EngineRequest) -> Objective:
    """The objective on its device, weights not set; modules prepared as asked."""
    with torch.device("meta"):
        objective = request.build_objective()
    objective.to_empty(device=request.world.device)
    prepare_modules(objective, request)
    return objective


def prepare_modules(objective: Objective, request: EngineRequest) -> None:
    """Activation checkpointing and compilation of blocks."""
    if request.recompute:
        objective.recompute_blocks()
    if request.compile:
        for block in objective.blocks():
            block.compile()


def clip_gradients(parameters: Sequence[Tensor], clip_norm: float | None) -> Tensor:
    """Clip the global norm of the gradients; returns the norm before clipping."""
    if clip_norm is not None:
        return nn.utils.clip_grad_norm_(parameters, clip_norm)
    return nn.utils.get_total_norm([item.grad for item in parameters if item.grad is not None])


def replicated_fragments(
    parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, rank: int, size: int
) -> Iterator[Fragment]:
    """State that every rank holds in full; ranks take turns in writing it."""
    for number, (name, parameter) in enumerate(parameters.items()):
        moments = _moments_of(optimizer, parameter)
        yield Fragment(name, 0, parameter.data.view(-1), moments, is_written=number % size == rank)


def _moments_of(optimizer: torch.optim.Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    """Flat views of the moments of a parameter; none of a frozen one."""
    if not parameter.requires_grad:
        return {}
    return {key: optimizer.state[parameter][key].view(-1) for key in MOMENTS}


def replicated_bytes(parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> dict[str, int]:
    """Bytes of live tensors when nothing is sharded."""
    moments = [state[key] for state in optimizer.state.values() for key in MOMENTS]
    return {
        "parameters": storage_bytes([item.data for item in parameters.values()]),
        "master_weights": 0,
        "moments": storage_bytes(moments),
    }
