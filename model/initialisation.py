"""Initial weights as a pure function of (seed, parameter name, shape).

A parameter's values do not depend on the order in which modules are built, on the device, or on how
parameters are sharded, so every engine and every number of ranks starts from the same model, and a
rank can compute just the tensor it needs. The scheme is GPT-2's (Radford et al. 2019, section 2.3):
normal matrices, residual projections scaled by 1/sqrt(2 layers), unit norms, zero biases.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from configs.seeds import derive
from model.options import TransformerOptions

_RESIDUAL_PROJECTIONS = (".attention.output.weight", ".feed_forward.down.weight")


def initial_value(name: str, shape: Sequence[int], seed: int, options: TransformerOptions) -> Tensor:
    """The initial value (float32, CPU) of the parameter `name`."""
    if name.endswith(".bias"):
        return torch.zeros(*shape)
    if len(shape) == 1:
        return torch.ones(*shape)
    std = options.init_std
    if name.endswith(_RESIDUAL_PROJECTIONS):
        std /= math.sqrt(2 * options.num_layers)
    generator = torch.Generator().manual_seed(derive(seed, "weights", name))
    return torch.empty(*shape).normal_(0.0, std, generator=generator)
