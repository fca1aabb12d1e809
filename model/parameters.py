"""What the parameters of a module are: their shapes, and the kinds that selectors ask for."""

from __future__ import annotations

from torch import Tensor, nn


def shape_of(parameter: Tensor) -> tuple[int, ...]:
    """The shape of a parameter, also while ZeRO-3 holds only a partition of it."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter."""
    return {name: shape_of(parameter) for name, parameter in module.named_parameters()}


def kinds_of(module: nn.Module) -> dict[str, frozenset[str]]:
    """The kinds of every parameter: `model.selectors.KINDS`."""
    return {
        f"{owner}.{leaf}" if owner else leaf: frozenset(_kinds(part, leaf, len(shape_of(parameter))))
        for owner, part in module.named_modules()
        for leaf, parameter in part.named_parameters(recurse=False)
    }


def _kinds(owner: nn.Module, leaf: str, num_dimensions: int) -> list[str]:
    if isinstance(owner, nn.Embedding):
        return ["embedding"]
    kinds = ["matrix" if num_dimensions > 1 else "vector"]
    if isinstance(owner, nn.LayerNorm | nn.RMSNorm):
        kinds.append("norm")
    if leaf == "bias":
        kinds.append("bias")
    return kinds
