"""AdamW, the same arithmetic under every engine."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from train.options import AdamWOptions

MOMENTS = ("exp_avg", "exp_avg_sq")
"Optimizer state of one weight, under torch's names."


def parameter_groups(module: nn.Module, options: AdamWOptions) -> list[dict[str, Any]]:
    """Matrices with weight decay, vectors without; shapes are those before any sharding."""
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for parameter in module.parameters():
        if parameter.requires_grad:
            (matrices if len(shape_of(parameter)) > 1 else vectors).append(parameter)
    groups = [
        {"params": matrices, "weight_decay": options.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_adamw(groups: Iterable[dict[str, Any]], options: AdamWOptions) -> torch.optim.AdamW:
    """Torch's fused AdamW (CPU and CUDA). The learning rate is set before every step."""
    betas = (options.beta1, options.beta2)
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=options.eps, fused=True)


def create_state(optimizer: torch.optim.Optimizer, parameter: Tensor, step: int) -> dict[str, Tensor]:
    """Empty AdamW state for `parameter` after `step` steps, ready to be filled from a checkpoint."""
    state = {name: torch.zeros_like(parameter) for name in MOMENTS}
    count = torch.tensor(float(step), dtype=torch.float32, device=parameter.device)
    optimizer.state[parameter] = {"step": count, **state}
    return state


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The learning rate of the coming step, in every group."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def shape_of(parameter: Tensor) -> tuple[int, ...]:
    """The shape of a parameter, also while ZeRO-3 holds only a partition of it."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


def numel_of(parameter: Tensor) -> int:
    """The number of elements of a parameter, also while ZeRO-3 holds only a partition of it."""
    return math.prod(shape_of(parameter))
