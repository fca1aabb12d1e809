"""FLOPs of a recipe, counted from the operations of its objective.

The objective runs forward and backward without memory behind its numbers (`train.plan.shadow`), and every product of
matrices and every convolution that comes by is counted: a multiply-add as 2, element-wise work and look-ups as nothing.
So what needs no gradient (frozen weights, pixels) costs no backward, and a user's own parts are counted like ours.
Attention is counted by the pairs of tokens that may see each other, as its fused kernels skip the others (but for their
blocks); what backward computes again, in these kernels or by `train.recompute`, is no model FLOP and does not count
(Chowdhery et al. 2022, appendix B).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry

import model.int8.arithmetic  # noqa: F401 - defines torch.ops.polytrain.int8_matmul and registers its FLOPs
from data.loader import Batch
from model.embedders.vectors import VectorEmbedder
from model.tokens import Tokens
from train.objectives.objective import Objective
from train.objectives.of_recipe import builder_of
from train.plan.attention import CountedAttention
from train.plan.batches import batch_of
from train.plan.quantities import Flops
from train.plan.shadow import Shadow
from train.recipe import Recipe

_MOST_ROWS = 16
"Rows that are counted: enough for the mean over what is random in a row."

_aten = torch.ops.aten
_INT8 = torch.ops.polytrain.int8_matmul


@dataclass(frozen=True)
class Count:
    """FLOPs of one micro-batch, forward and backward."""

    rows: int
    tokens: int
    "What the embedders gave for one row."
    products: float
    "Of products of matrices and of convolutions."
    attention: float
    int8: float
    "Of the products, those of 8-bit matrices."

    @property
    def flops(self) -> Flops:
        """By token."""
        return Flops(self.products / (self.rows * self.tokens), self.attention / (self.rows * self.tokens**2))


def flops_of(recipe: Recipe) -> Flops:
    """FLOPs of forward and backward per token.

    Tokens are what embedders give for the fields of a row, before any are left out: of an encoder and a decoder, those
    of both. Attention is counted at the recipe's own length T; at another it is taken to grow with T^2.

    Raises:
        ConfigError: when the recipe does not tell what a batch holds (`train.plan.batches`).
    """
    return count_of(recipe).flops


def step_flops(recipe: Recipe) -> float:
    """Model FLOPs of one optimizer step, over the whole global batch.

    Raises:
        ConfigError: when the recipe does not tell what a batch holds (`train.plan.batches`).
    """
    found = count_of(recipe)
    return (found.products + found.attention) / found.rows * recipe.batch.global_


def count_of(recipe: Recipe) -> Count:
    """The FLOPs of a micro-batch of the recipe."""
    rows = min(recipe.batch.micro or recipe.batch.global_, _MOST_ROWS)
    return count(builder_of(recipe), batch_of(recipe, rows))


def count(build: Callable[[], Objective], batch: Batch, *, dense: bool = False) -> Count:
    """The FLOPs of the objective that `build` makes, on this batch.

    Args:
        build: makes the objective; called where tensors have no memory.
        batch: real tensors.
        dense: count attention of all pairs, whatever the visibility shows.
    """
    shadow, attention, products, int8, tokens = Shadow(), CountedAttention(dense=dense), 0.0, 0.0, 0

    def add_operation(operator: Any, args: tuple[Any, ...], result: Any) -> None:
        nonlocal products, int8
        formula = _FORMULAS.get(operator.overloadpacket)
        flops = 0.0 if formula is None else formula(args, result)
        products += flops
        int8 += flops if operator.overloadpacket is _INT8 else 0.0

    def add_tokens(_module: nn.Module, _args: object, result: Tokens) -> None:
        nonlocal tokens
        tokens += result.x.shape[1]

    with shadow.building():
        objective = build()
    for transformer in objective.transformers():
        transformer.backend = attention
        if not isinstance(transformer.embedder, VectorEmbedder):
            transformer.embedder.register_forward_hook(add_tokens)
    with shadow.computing(add_operation):
        objective(shadow.batch(batch))["loss"].backward()
    return Count(len(next(iter(batch.values()))), tokens, products, attention.flops, int8)


def _product(args: tuple[Any, ...], _result: Any) -> float:
    """[..., N, K] x [..., K, M], the last two tensors among the arguments."""
    first, second = [item for item in args if isinstance(item, Tensor)][-2:]
    return 2.0 * first.numel() * second.shape[-1]


def _convolution(args: tuple[Any, ...], result: Tensor) -> float:
    inputs, weight, is_transposed = args[0], args[1], args[6]
    return _of_convolution(inputs, weight, result, is_transposed=is_transposed)


def _convolution_backward(args: tuple[Any, ...], _result: Any) -> float:
    d_result, inputs, weight, is_transposed, wanted = args[0], args[1], args[2], args[7], args[10]
    return int(wanted[0] + wanted[1]) * _of_convolution(inputs, weight, d_result, is_transposed=is_transposed)


def _of_convolution(inputs: Tensor, weight: Tensor, result: Tensor, *, is_transposed: bool) -> float:
    """Every place of the result takes the kernel once; of a transposed one, every place of the input does."""
    places = inputs if is_transposed else result
    return 2.0 * places.numel() * math.prod(weight.shape[1:])


_FORMULAS: dict[Any, Callable[[tuple[Any, ...], Any], float]] = {
    **dict.fromkeys((_aten.mm, _aten.bmm, _aten.addmm, _aten.addmm_, _aten.baddbmm, _aten.baddbmm_), _product),
    _INT8: lambda args, result: float(flop_registry[_INT8](*args, out_val=result)),
    _aten.convolution: _convolution,
    _aten.convolution_backward: _convolution_backward,
}
"By operator: (arguments, result) -> FLOPs."
