"""AdamW, the same arithmetic under every engine."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from model.parameters import kinds_of, shape_of
from model.selectors import select
from model.transformer import Transformer
from train.options import AdamWOptions

MOMENTS = ("exp_avg", "exp_avg_sq")
"Optimizer state of one weight, under torch's names."


def parameter_groups(module: nn.Module, options: AdamWOptions) -> list[dict[str, Any]]:
    """Trained parameters by what the optimizer does with them: `weight_decay`, and `lr_factor` of the learning rate.

    Raises:
        ConfigError: when a pattern of `options.groups` matches nothing.
    """
    trained = {name: item for name, item in module.named_parameters() if item.requires_grad}
    kinds = kinds_of(module)
    factors = layer_factors(module, options.lr_decay_per_layer)
    decays = dict.fromkeys(trained, options.weight_decay)
    for name, multiplier in width_multipliers(module).items():
        if name in trained and "vector" not in kinds[name]:
            factors[name] /= multiplier
            decays[name] *= multiplier  # AdamW decays by lr times this: by as much at every width
    decays |= {name: 0.0 for name in trained if "vector" in kinds[name]}
    for number, changes in enumerate(options.groups):
        for name in select(changes.select, trained, f"optimizer.groups[{number}].select", kinds):
            factors[name] *= changes.lr
            decays[name] = decays[name] if changes.weight_decay is None else changes.weight_decay
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in trained.items():
        key = (decays[name], factors[name])
        group = groups.setdefault(key, {"params": [], "weight_decay": decays[name], "lr_factor": factors[name]})
        group["params"].append(parameter)
    return list(groups.values())


def layer_factors(module: nn.Module, decay: float) -> dict[str, float]:
    """Factor of the learning rate of every parameter: decay^(layers between it and the output).

    What stands before the first block counts as one layer, what follows the last as none (Clark et al. 2020, A.2).
    """
    factors = {name: 1.0 for name, _ in module.named_parameters()}
    for prefix, transformer in module.named_modules():
        if not isinstance(transformer, Transformer):
            continue
        depth = len(transformer.blocks)
        for name, _ in transformer.named_parameters():
            part, number, *_ = name.split(".")
            above = depth - int(number) if part == "blocks" else 0 if part == "norm" else depth + 1
            factors[f"{prefix}.{name}" if prefix else name] = decay**above
    return factors


def width_multipliers(module: nn.Module) -> dict[str, float]:
    """How many times wider than `init.base_dim` the matrices of blocks are (Yang et al. 2022, table 8)."""
    return {
        f"{prefix}.{name}" if prefix else name: transformer.options.width_multiplier
        for prefix, transformer in module.named_modules()
        if isinstance(transformer, Transformer)
        for name, _ in transformer.named_parameters()
        if name.startswith("blocks.")
    }


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
    """The learning rate of the coming step: in every group, times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_factor", 1.0)


def numel_of(parameter: Tensor) -> int:
    """The number of elements of a parameter, also while ZeRO-3 holds only a partition of it."""
    return math.prod(shape_of(parameter))
