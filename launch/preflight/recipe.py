"""Whether the recipe is valid here, on so many ranks, and what it needs of a node."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import torch

from configs.errors import ConfigError
from data.batches import BatchPlan
from launch.preflight.report import Result
from train.check import num_parameters
from train.recipe import Recipe, load_recipe


@dataclass
class Examined:
    """A recipe as far as it could be read, and its parameters as far as they could be counted."""

    result: Result
    recipe: Recipe | None = None
    parameters: int = 0


def examine(path: str, overrides: Sequence[str], num_ranks: int) -> Examined:
    """Read the recipe, cut its batch for so many ranks, and build its objective without memory."""
    examined = Examined(Result())
    try:
        examined.recipe = recipe = load_recipe(path, overrides)
        examined.result.facts["recipe"] = hashlib.sha256(recipe.yaml().encode()).hexdigest()[:12]
        BatchPlan.of(recipe.batch, 0, num_ranks)
        _require_engine(recipe)
        examined.parameters = num_parameters(recipe)
        examined.result.figures |= {"ranks": num_ranks, "parameters": examined.parameters}
    except ConfigError as error:
        examined.result.failures.append(str(error))
    return examined


def _require_engine(recipe: Recipe) -> None:
    if recipe.engine.kind in ("accelerate", "deepspeed") and find_spec(recipe.engine.kind) is None:
        raise ConfigError(f"engine.kind={recipe.engine.kind}: the package is not installed.")
    if recipe.precision == "bf16" and torch.cuda.is_available() and not torch.cuda.is_bf16_supported():
        raise ConfigError("precision=bf16: the GPUs of this node cannot do it. Take float32, or other nodes.")
