"""The objective that a recipe trains, in the recipe's arithmetic."""

from __future__ import annotations

from collections.abc import Callable

from model.int8.block import to_int8
from train.objectives.objective import Objective, build_objective
from train.recipe import Recipe


def objective_of(recipe: Recipe) -> Objective:
    """Built, after all edits; its blocks in 8 bits where the recipe says so.

    Raises:
        ConfigError: when an edit cannot be made, or a block cannot be in 8 bits.
    """
    objective = build_objective(recipe.objective, recipe.model, recipe.surgery)
    if recipe.precision == "int8":
        to_int8(objective, recipe.int8)
    return objective


def builder_of(recipe: Recipe) -> Callable[[], Objective]:
    """What builds the objective where nothing is computed but shapes: by definitions, for kernels need a GPU."""
    plain = recipe.model_copy(update={"int8": recipe.int8.model_copy(update={"kernels": "plain"})})
    return lambda: objective_of(plain)
