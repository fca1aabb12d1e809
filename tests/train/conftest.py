"""Tiny recipes, objectives and batches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from configs.options import validate
from configs.recipe import merge
from model.options import TransformerOptions
from train.engines.engine import EngineRequest
from train.objectives.causal_lm import CausalLM
from train.objectives.options import CausalLMOptions
from train.options import AdamWOptions
from train.recipe import Recipe
from train.world import World

Tree = dict[str, Any]


@pytest.fixture(scope="session")
def recipe_of() -> Callable[..., Recipe]:
    def make(run: Path | str = "runs/tiny", **changes: Any) -> Recipe:
        tree: Tree = {
            "run": str(run),
            "train": {"steps": 10},
            "batch": {"global": 8},
            "data": {"train": {"kind": "token_windows", "shards": "none.tar", "length": 6}},
            "model": {
                "kind": "transformer",
                "embedder": {"kind": "text", "vocab_size": 19, "max_length": 8},
                "dim": 8,
                "num_layers": 1,
                "mixer": {"kind": "attention", "num_heads": 2},
            },
            "optimizer": {"kind": "adamw", "lr": 0.01},
        }
        recipe = validate(Recipe, merge(tree, changes), "tiny")
        assert isinstance(recipe, Recipe)
        return recipe

    return make


@pytest.fixture(scope="session")
def objective_of() -> Callable[..., CausalLM]:
    def make(*, tied_head: bool = True, **changes: object) -> CausalLM:
        small: Tree = {
            "embedder": {"vocab_size": 19, "max_length": 8},
            "dim": 8,
            "num_layers": 1,
            "mixer": {"num_heads": 2},
            "hidden_dim": 12,
        }
        options = TransformerOptions.model_validate(merge(small, changes))
        return CausalLM(CausalLMOptions(tied_head=tied_head), options)

    return make


@pytest.fixture(scope="session")
def batch_of() -> Callable[..., dict[str, Tensor]]:
    """Random rows of six inputs and their targets, cut into documents of random lengths."""

    def make(rows: int, seed: int = 0) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        tokens = torch.randint(0, 19, (rows, 7), generator=generator)
        # Row by row more likely to start a document, so that micro-batches have unequal numbers of targets.
        starts = torch.rand(rows, 7, generator=generator) < torch.linspace(0, 0.8, rows)[:, None]
        return {"tokens": tokens, "segments": starts.long().cumsum(1)}

    return make


@pytest.fixture(scope="session")
def request_of(objective_of: Callable[..., CausalLM]) -> Callable[..., EngineRequest]:
    def make(**changes: Any) -> EngineRequest:
        asked: dict[str, Any] = {
            "build_objective": objective_of,
            "optimizer": AdamWOptions(lr=0.01),
            "precision": "float32",
            "clip_norm": 1.0,
            "num_micro": 1,
            "micro_rows": 8,
            "compile": False,
            "recompute": False,
            "world": World(),
        }
        return EngineRequest(**asked | changes)

    return make


@pytest.fixture(scope="module")
def process_group() -> Iterator[None]:
    with World().process_group():
        yield
    if "deepspeed" in sys.modules:  # it would take the groups of this world for those of the next
        from deepspeed.comm import comm
        from deepspeed.utils import groups

        groups._release_process_group_references()
        comm.cdb = None
