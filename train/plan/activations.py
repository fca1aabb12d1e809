"""What autograd keeps of a forward pass for backward, measured where numbers have no memory.

Every storage counts once; parameters do not count, nor the 8-bit copies that last from step to step; casts to another
precision do.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._pytree import tree_leaves

from data.loader import Batch
from model.int8.block import round_weights
from train.objectives.objective import Objective
from train.plan.attention import CountedAttention
from train.plan.shadow import Shadow

Device = Literal["cuda", "cpu"]
Cast = Literal["none", "weights", "autocast"]
"How bf16 comes in: not at all, by weights that are bf16, or by autocast over float32 weights."


@dataclass(frozen=True)
class Activations:
    """Bytes of one micro-batch."""

    saved: int
    "Kept for backward."
    of_a_block: int
    "Of them, the most that belong to one block: what exists a second time while it is recomputed."
    brief: int
    "What lived beside them at the peak of forward."
    rounded: int = 0
    "8-bit copies of weights, which are no activations."


def activations_of(
    build: Callable[[], Objective], batch: Batch, *, device: Device, cast: Cast, recompute: bool = False
) -> Activations:
    """What a training step keeps.

    Args:
        build: makes the objective; called where tensors have no memory.
        batch: real tensors, one micro-batch.
        device: "cuda" has fused kernels for attention and RMS norms; "cpu" is as this machine computes.
        cast: how bf16 comes in.
        recompute: activation checkpointing; `of_a_block` is then 0.
    """
    shadow, ledger = Shadow(), _Ledger()
    with shadow.building(torch.bfloat16 if cast == "weights" else torch.float32):
        objective = build()
    if device == "cuda":
        _fuse(objective)
    if recompute:
        objective.recompute_blocks()
    for number, block in enumerate(objective.blocks()):
        block.register_forward_pre_hook(lambda *_, number=number: ledger.enter(number))
        block.register_forward_hook(lambda *_: ledger.enter(None))
    ledger.known = {_key(item) for item in objective.parameters()}
    with shadow.computing():
        rounded = [item for weight in round_weights(objective) for item in (weight.q, weight.scale)]
    ledger.known |= {_key(item) for item in rounded}
    autocast: AbstractContextManager[Any] = nullcontext()
    if cast == "autocast":
        autocast = torch.autocast("cpu", torch.bfloat16)
    with shadow.computing(ledger.made), saved_tensors_hooks(ledger.keep, lambda item: item), autocast:
        sums = objective(shadow.batch(batch))
    ledger.peak -= sum(item.untyped_storage().nbytes() for item in sums.values())
    saved = sum(ledger.saved.values())
    return Activations(
        saved,
        of_a_block=max(ledger.of_blocks.values(), default=0),
        brief=max(0, ledger.peak - saved),
        rounded=sum(item.untyped_storage().nbytes() for item in rounded),
    )


@dataclass
class _Ledger:
    """Storages by their addresses; those that are kept are kept alive by autograd, so no address comes twice."""

    known: set[int] = field(default_factory=set)
    "Parameters and their 8-bit copies."
    saved: dict[int, int] = field(default_factory=dict)
    of_blocks: dict[int, int] = field(default_factory=dict)
    live: int = 0
    peak: int = 0
    _block: int | None = None
    _made_in: dict[int, int | None] = field(default_factory=dict)

    def enter(self, block: int | None) -> None:
        """What follows belongs to this block, or to none."""
        self._block = block

    def made(self, _operator: Any, _args: Any, result: Any) -> None:
        """An operation gave `result`."""
        for item in tree_leaves(result):
            if isinstance(item, Tensor) and _key(item) not in self.known | self._made_in.keys():
                storage = item.untyped_storage()
                self._made_in[_key(item)] = self._block
                self.live += storage.nbytes()
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self._freed, _key(item), storage.nbytes())

    def keep(self, item: Tensor) -> Tensor:
        """Autograd keeps `item`."""
        key = _key(item)
        if key not in self.known and key not in self.saved:
            self.saved[key] = item.untyped_storage().nbytes()
            made_in = self._made_in.get(key)
            if made_in is not None and made_in == self._block:
                self.of_blocks[made_in] = self.of_blocks.get(made_in, 0) + self.saved[key]
        return item

    def _freed(self, key: int, num_bytes: int) -> None:
        del self._made_in[key]
        self.live -= num_bytes


def _key(item: Tensor) -> int:
    address: int = item.untyped_storage()._cdata
    return address


def _fuse(objective: Objective) -> None:
    """Put what stands for fused kernels in the place of attention and RMS norms."""
    attention = CountedAttention()
    for transformer in objective.transformers():
        transformer.backend = attention
    for module in objective.modules():
        if type(module) is nn.RMSNorm:
            module.forward = _fused_norm(module)  # type: ignore[assignment]


def _fused_norm(norm: nn.RMSNorm) -> Callable[[Tensor], Tensor]:
    return lambda x: _FusedNorm.apply(x, norm.weight)


class _FusedNorm(torch.autograd.Function):
    """What a fused norm keeps for backward: its input, and one number for every token. Only forward is asked for."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, x.new_empty(*x.shape[:-1], 1, dtype=torch.float32), weight)
        return torch.empty_like(x)
