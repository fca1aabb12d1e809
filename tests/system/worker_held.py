"""Started by torchrun: a step of two micro-batches under every engine, and what was live in the last backward.

The count does not ask the engines. It walks the tensors that the garbage collector knows and were not there before, and
tells them apart by what they are: parameters (or partitions of them), state of the optimizer, a bucket (as many numbers
as one has), and the rest, which is gradients: the batch is so small that activations are nothing.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from typing import Any

import torch
from torch import Tensor

from data.batches import BatchPlan
from tests.conftest import ROOT
from train.engines.engine import EngineRequest, build_engine
from train.objectives.objective import build_objective
from train.plan.batches import batch_of
from train.recipe import Recipe, load_recipe
from train.state import InitialWeights
from train.world import World

_MODEL = {
    "model.dim": 64,
    "model.mixer.num_heads": 2,
    "model.embedder.vocab_size": 64,
    "model.embedder.max_length": 8,
    "data.train.length": 8,
    "data.validation.length": 8,
    "batch.global": 4,
    "batch.micro": 1,
}


def recipe_of(engine: str, precision: str) -> Recipe:
    """`engine`: accelerate, or a stage of ZeRO."""
    asked = f"{{kind: deepspeed, zero: {engine}}}" if engine.isdigit() else engine
    overrides = [f"{key}={value}" for key, value in _MODEL.items()]
    # Many small layers: a whole matrix where the shares of two ranks meet, or on its way into a bucket, is then little.
    # Stage 3 cuts every parameter, and gathers each by itself, which takes its time.
    overrides.append(f"model.num_layers={16 if engine == '3' else 40}")
    shards = [f"data.{split}.shards=nowhere.tar" for split in ("train", "validation")]
    recipe = ROOT / "configs" / "quickstart.yaml"
    return load_recipe(recipe, [*overrides, *shards, f"engine={asked}", f"precision={precision}"])


def main(engines: list[str]) -> None:
    world = World.from_environment()
    with world.process_group():
        for name in engines:
            recipe = recipe_of(*name.split("-"))
            ranks = world.gather(_live(recipe, world))
            if world.is_main:  # of two that print, lines run into each other
                print(json.dumps({"name": name, "ranks": ranks}), flush=True)
            gc.collect()
    sys.stdout.flush()
    os._exit(0)


def _live(recipe: Recipe, world: World) -> dict[str, int]:
    before = set(_storages())
    plan = BatchPlan.of(recipe.batch, world.rank, world.size)
    request = EngineRequest(
        build_objective=lambda: build_objective(recipe.objective, recipe.model),
        optimizer=recipe.optimizer,
        precision=recipe.precision,
        clip_norm=1.0,
        num_micro=plan.num_micro,
        micro_rows=plan.micro_rows,
        compile=False,
        recompute=False,
        world=world,
    )
    engine: Any = build_engine(recipe.engine, request)
    engine.load(InitialWeights(engine.objective.initial_value, engine.shapes, seed=0))
    numbers = sum(torch.Size(shape).numel() for shape in engine.shapes.values())
    parameters = list(engine.objective.parameters())
    dtype = parameters[0].dtype
    found: list[dict[str, int]] = []
    gathered: list[int] = []

    def look(*_: Any) -> None:
        held = [item.grad for item in parameters]  # to have Python know them
        storages = {key: kind for key, kind in _storages().items() if key not in before}
        live = {key: size for key, (size, _) in storages.items()}
        partitions = [item.ds_tensor for item in parameters if hasattr(item, "ds_tensor")]
        state = engine._adamw.state if hasattr(engine, "_adamw") else engine._optimizer.state
        of_optimizer = _keys([item for row in state.values() for item in row.values()])
        of_weights = _keys(partitions or parameters)
        of_optimizer |= _keys([item for item in state if item.untyped_storage().data_ptr() not in of_weights])
        of_gathered = _keys(parameters) - of_weights
        bucket = (dtype.itemsize * numbers, dtype)
        buckets = {key for key, kind in storages.items() if kind == bucket} - of_optimizer - of_weights
        kinds = {"weights": of_weights, "optimizer": of_optimizer, "gathered": of_gathered, "buckets": buckets}
        kinds["gradients"] = live.keys() - set().union(*kinds.values())
        found.append({kind: sum(live.get(key, 0) for key in keys) for kind, keys in kinds.items()})
        del held

    def look_at_whole(*_: Any) -> None:
        whole = {item.untyped_storage().data_ptr(): item.nbytes for item in parameters}
        gathered.append(sum(whole.values()))

    micro_batches = [batch_of(recipe, 1)] * plan.num_micro
    for is_watched in (False, True):
        if is_watched:
            # Its own gradients are the last but those of the embedding.
            engine.objective.transformer.blocks[0].register_full_backward_hook(look)
            engine.objective.transformer.norm.register_forward_hook(look_at_whole)
        engine.forward_backward(micro_batches, 4 * 8)
        if is_watched:
            look()
        engine.step(1e-3)
    live = {kind: max(moment[kind] for moment in found) for kind in found[0]}
    return live | {"gathered": max(gathered)}


def _storages() -> dict[int, tuple[int, torch.dtype]]:
    gc.collect()
    tensors = [item for item in gc.get_objects() if isinstance(item, Tensor) and item.device.type == "cpu"]
    return {item.untyped_storage().data_ptr(): (item.untyped_storage().nbytes(), item.dtype) for item in tensors}


def _keys(tensors: Any) -> set[int]:
    return {item.untyped_storage().data_ptr() for item in tensors}


if __name__ == "__main__":
    main(sys.argv[1:])
