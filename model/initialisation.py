"""Initial weights as a pure function of (seed, parameter name, shape).

A parameter's values do not depend on the order in which modules are built, on the device, or on how
parameters are sharded, so every engine and every number of ranks starts from the same model, and a
rank can compute just the tensor it needs. The scheme is GPT-2's (Radford et al. 2019, section 2.3):
normal matrices, residual projections scaled by 1/sqrt(residual branches), unit norms, zero biases. With
`init.base_dim` it follows the width as in muP (Yang et al. 2022), of which `train.optimizer` and the head do the rest.
A module with another scheme of its own has a method `initial_value(leaf, shape, generator)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from configs.seeds import derive
from model.options import TransformerOptions

_RESIDUAL_PROJECTIONS = (".mixer.output.weight", ".cross.output.weight", ".feed_forward.down.weight")


def initial_value(name: str, shape: Sequence[int], seed: int, options: TransformerOptions) -> Tensor:
    """The initial value (float32, CPU) of the parameter `name`."""
    if name.endswith(".bias"):
        return torch.zeros(*shape)
    if len(shape) == 1:
        return torch.ones(*shape)
    std = options.init.std
    if ".blocks." in f".{name}":
        std /= math.sqrt(options.width_multiplier)
    if options.init.depth == "residual" and name.endswith(_RESIDUAL_PROJECTIONS):
        std /= math.sqrt(num_branches(options))
    return torch.empty(*shape).normal_(0.0, std, generator=generator_of(name, seed))


def initial_value_of(
    module: nn.Module, name: str, shape: Sequence[int], seed: int, options: TransformerOptions
) -> Tensor:
    """The initial value of `module`'s parameter `name`: the owner's own scheme, else that of `options`."""
    owner, _, leaf = name.rpartition(".")
    own = getattr(module.get_submodule(owner), "initial_value", None)
    if own is not None:
        return own(leaf, tuple(shape), generator_of(name, seed))  # type: ignore[no-any-return]
    return initial_value(name, shape, seed, options)


def generator_of(name: str, seed: int) -> torch.Generator:
    """The randomness of one parameter."""
    return torch.Generator().manual_seed(derive(seed, "weights", name))


def num_branches(options: TransformerOptions) -> int:
    """Residual branches that are added up between embedder and final norm."""
    blocks = [options.blocks[number] for number in options.order]
    return sum(1 + block.cross + (block.feed_forward != "none") for block in blocks)
