"""Bytes against live tensors: what autograd really keeps here, and by the rules of every ZeRO stage.

What ranks hold is in tests/system/test_plan.py.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from data.loader import Batch
from model.int8.block import round_weights
from tests.train.plan.recipes import BUILDERS, IN_INT8, PATHS, batch_for, real, recipe_at
from train.check import num_parameters
from train.objectives.objective import Objective
from train.objectives.of_recipe import builder_of
from train.plan.activations import Cast, activations_of
from train.plan.batches import batch_of
from train.plan.memory import cast_of, memory_of, workload_of
from train.plan.quantities import Flops, Layout, Workload

TOLERANCE = 0.1
CASTS: tuple[Cast, ...] = ("none", "weights", "autocast")

SMALL = Workload(1000, 1000, 100, 4, 8, Flops(1.0, 0.0), 10, 5, 8)


def layout(**changes: Any) -> Layout:
    usual: dict[str, Any] = {"zero": 2, "offload": "none", "recompute": False, "precision": "float32", "micro_rows": 1}
    return Layout(world_size=8, gpus_per_node=8, **usual | changes)


class Kept:
    """The storages that autograd keeps, but those of parameters and of their 8-bit copies."""

    def __init__(self, objective: Objective) -> None:
        copies = [item for weight in round_weights(objective) for item in (weight.q, weight.scale)]
        self._parameters = {item.untyped_storage().data_ptr() for item in [*objective.parameters(), *copies]}
        self.storages: dict[int, int] = {}
        self.users: dict[int, set[int]] = {}
        "By storage: the blocks that keep it."
        self.block = -1

    def __call__(self, item: Tensor) -> Tensor:
        storage = item.untyped_storage()
        if storage.data_ptr() not in self._parameters:
            self.storages[storage.data_ptr()] = storage.nbytes()
            self.users.setdefault(storage.data_ptr(), set()).add(self.block)
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
    inputs: list[Tensor] = []

    def enter(_block: Any, args: tuple[Any, ...]) -> None:
        kept.block = len(inputs)
        inputs.append(args[0].detach())

    def leave(_block: Any, _args: Any, _result: Any) -> None:
        kept.block = -1

    for block in objective.blocks():
        block.register_forward_pre_hook(enter)
        block.register_forward_hook(leave)
    autocast = torch.autocast("cpu", torch.bfloat16) if cast == "autocast" else nullcontext()
    with saved_tensors_hooks(kept, lambda item: item), autocast:
        sums = objective(batch)
    assert sums["loss"].requires_grad
    given = {item.untyped_storage().data_ptr() for item in inputs}
    own = [
        sum(size for key, size in kept.storages.items() if kept.users[key] == {number} and key not in given)
        for number in range(len(inputs))
    ]
    return kept.num_bytes, max(own)


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


@pytest.mark.parametrize("path", IN_INT8)
def test_recipes_in_8_bits_keep_what_is_predicted(path: str) -> None:
    recipe = recipe_at(path, *IN_INT8[path])
    build, batch = builder_of(recipe), batch_of(recipe, 4)
    for recompute in (False, True):
        found = activations_of(build, batch, device="cpu", cast="none", recompute=recompute)
        saved, of_a_block = real_bytes(build, batch, "none", recompute=recompute)
        assert found.saved == pytest.approx(saved, rel=TOLERANCE)
        if not recompute:
            assert found.of_a_block == pytest.approx(of_a_block, rel=TOLERANCE)
            in_float32 = builder_of(recipe_at(path, *IN_INT8[path], "precision=float32"))
            assert found.saved < activations_of(in_float32, batch, device="cpu", cast="none").saved


def test_copies_of_weights_in_8_bits_are_weights_on_every_rank() -> None:
    recipe = recipe_at("quickstart.yaml", "precision=int8")
    workload, objective = workload_of(recipe), builder_of(recipe)()
    copies = round_weights(objective)
    assert workload.rounded_bytes == sum(item.q.nbytes + item.scale.nbytes for item in copies)
    for zero in (0, 1, 2, 3):
        held, without = (memory_of(item, layout(zero=zero)) for item in (workload, replace(workload, rounded_bytes=0)))
        assert held.weights - without.weights == workload.rounded_bytes


@pytest.mark.parametrize("name", BUILDERS)
def test_models_of_every_kind_keep_what_is_predicted(name: str) -> None:
    found = activations_of(BUILDERS[name], batch_for(name), device="cpu", cast="none")
    saved, _ = real_bytes(BUILDERS[name], batch_for(name), "none", recompute=False)
    assert found.saved == pytest.approx(saved, rel=TOLERANCE)


@pytest.mark.parametrize("path", PATHS)
def test_parameters_are_counted_exactly(path: str) -> None:
    recipe = recipe_at(path)
    found, objective = workload_of(recipe), builder_of(recipe)()
    assert found.parameters == sum(item.numel() for item in objective.parameters())
    assert found.trained == num_parameters(recipe)
    assert found.layers == len(objective.blocks())


def test_frozen_parameters_have_no_gradient_and_no_optimizer() -> None:
    recipe = recipe_at("quickstart.yaml", "surgery=[{kind: freeze, select: ['transformer.blocks.**']}]")
    found = workload_of(recipe)
    assert found.parameters - found.trained == sum(
        item.numel() for item in builder_of(recipe)().parameters() if not item.requires_grad
    )
    held = memory_of(found, layout(zero=2))
    assert held.weights == 4 * found.parameters
    assert held.gradients == 4 * -(-found.trained // 8)
    assert held.optimizer == 12 * -(-found.trained // 8)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_rows_that_were_not_counted_keep_what_the_line_says(path: str, recompute: bool) -> None:
    recipe = recipe_at(path)
    planned = memory_of(workload_of(recipe, device="cpu"), layout(recompute=recompute, micro_rows=3)).activations
    build, batch, cast = builder_of(recipe), batch_of(recipe, 3), cast_of(recipe)
    saved, _ = real_bytes(build, batch, cast, recompute=recompute)
    of_a_block = real_bytes(build, batch, cast, recompute=False)[1] if recompute else 0
    assert planned == pytest.approx(saved + of_a_block, rel=TOLERANCE)


@pytest.mark.parametrize(
    ("engine", "precision", "cast"),
    [
        ("accelerate", "float32", "none"),
        ("accelerate", "bf16", "autocast"),
        ("{kind: deepspeed, zero: 0}", "bf16", "autocast"),
        ("{kind: deepspeed, zero: 1}", "bf16", "weights"),
        ("{kind: deepspeed, zero: 3}", "float32", "none"),
    ],
)
def test_engines_cast_in_their_own_ways(engine: str, precision: str, cast: Cast) -> None:
    assert cast_of(recipe_at("quickstart.yaml", f"engine={engine}", f"precision={precision}")) == cast


def test_what_is_not_in_8_bits_is_cast_to_bf16_on_gpus() -> None:
    recipe = recipe_at("quickstart.yaml", "precision=int8", "engine={kind: deepspeed, zero: 2}")
    assert (cast_of(recipe, "cuda"), cast_of(recipe, "cpu")) == ("autocast", "none")
    asked = recipe_at("quickstart.yaml", "precision=int8", "int8.around=bf16")
    assert (cast_of(asked, "cuda"), cast_of(asked, "cpu")) == ("autocast", "autocast")


def test_fused_norms_keep_their_input_alone() -> None:
    """Here a CPU's attention keeps none either; its norms keep a copy of what they have normed."""
    recipe = recipe_at("quickstart.yaml")
    tokens = batch_of(recipe, 1)
    on_gpu = activations_of(builder_of(recipe), tokens, device="cuda", cast="none")
    on_cpu = activations_of(builder_of(recipe), tokens, device="cpu", cast="none")
    # Two of every block, and the last.
    assert on_cpu.saved - on_gpu.saved == (2 * 4 + 1) * 128 * 192 * 4


def test_offloaded_state_is_on_the_host() -> None:
    state = 12 * 1000 // 8
    for zero, offload, on_host in (
        (2, "optimizer", state + 500),
        (3, "optimizer", state + 1000),
        (3, "all", state + 1500),
    ):
        held, kept = memory_of(SMALL, layout(zero=zero, offload=offload)), memory_of(SMALL, layout(zero=zero))
        assert (held.optimizer, held.gradients, held.host) == (0, 0, on_host)
        assert held.weights == (0 if offload == "all" else kept.weights)
        assert held.device < kept.device
