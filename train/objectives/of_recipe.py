"""The objective that a recipe trains, in the recipe's arithmetic."""

from __future__ import annotations

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
