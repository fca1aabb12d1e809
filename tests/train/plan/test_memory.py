"""Bytes against live tensors: what autograd really keeps here, and by the rules of every ZeRO stage.

What ranks hold is in tests/system/test_plan.py.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from data.loader import Batch
from tests.train.plan.recipes import BUILDERS, PATHS, batch_for, builder_of, real, recipe_at
from train.objectives.objective import Objective
from train.plan.activations import Cast, activations_of
from train.plan.batches import batch_of

TOLERANCE = 0.1
CASTS: tuple[Cast, ...] = ("none", "weights", "autocast")


class Kept:
    """The storages that autograd keeps, but those of parameters."""

    def __init__(self, objective: Objective) -> None:
        self._parameters = {item.untyped_storage().data_ptr() for item in objective.parameters()}
        self.storages: dict[int, int] = {}

    def __call__(self, item: Tensor) -> Tensor:
        storage = item.untyped_storage()
        if storage.data_ptr() not in self._parameters:
            self.storages[storage.data_ptr()] = storage.nbytes()
        return item

    @property
    def num_bytes(self) -> int:
        return sum(self.storages.values())


def real_bytes(build: Callable[[], Objective], batch: Batch, cast: Cast, *, recompute: bool) -> tuple[int, int]:
    """What a forward pass keeps on this machine, and the most that one block adds of its own."""
    objective = real(build)
    if cast == "weights":
        objective.to(torch.bfloat16)
    if recompute:
        objective.recompute_blocks()
    kept = Kept(objective)
    before: dict[int, int] = {}
    of_blocks = [0]

    def enter(_block: Any, args: tuple[Any, ...]) -> None:
        before.clear()
        before.update(kept.storages)
        before[args[0].untyped_storage().data_ptr()] = 0

    def leave(_block: Any, _args: Any, _result: Any) -> None:
        of_blocks.append(sum(size for key, size in kept.storages.items() if key not in before))

    for block in objective.blocks():
        block.register_forward_pre_hook(enter)
        block.register_forward_hook(leave)
    autocast = torch.autocast("cpu", torch.bfloat16) if cast == "autocast" else nullcontext()
    with saved_tensors_hooks(kept, lambda item: item), autocast:
        sums = objective(batch)
    assert sums["loss"].requires_grad
    return kept.num_bytes, max(of_blocks)


@pytest.mark.parametrize("cast", CASTS)
@pytest.mark.parametrize("path", PATHS)
def test_recipes_keep_what_is_predicted(path: str, cast: Cast) -> None:
    recipe = recipe_at(path)
    build, batch = builder_of(recipe), batch_of(recipe, 4)
    found = activations_of(build, batch, device="cpu", cast=cast)
    saved, of_a_block = real_bytes(build, batch, cast, recompute=False)
    assert found.saved == pytest.approx(saved, rel=TOLERANCE)
    assert found.of_a_block == pytest.approx(of_a_block, rel=TOLERANCE)
    found = activations_of(build, batch, device="cpu", cast=cast, recompute=True)
    assert found.saved == pytest.approx(real_bytes(build, batch, cast, recompute=True)[0], rel=TOLERANCE)


@pytest.mark.parametrize("name", BUILDERS)
def test_models_of_every_kind_keep_what_is_predicted(name: str) -> None:
    found = activations_of(BUILDERS[name], batch_for(name), device="cpu", cast="none")
    saved, _ = real_bytes(BUILDERS[name], batch_for(name), "none", recompute=False)
    assert found.saved == pytest.approx(saved, rel=TOLERANCE)
