"""`polytrain check`: a recipe, resolved and validated, and what it would train."""

from __future__ import annotations

import argparse
import json

from launch.tables import print_table
from train import command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    command.add_recipe_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.epilog = "example:\n  polytrain check configs/quickstart.yaml engine.zero=3 model.dim=256"


def run(arguments: argparse.Namespace) -> None:
    """Validate and print."""
    from train.check import summary
    from train.recipe import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    if not arguments.json:
        print(recipe.yaml(), flush=True)  # also when shards turn out to be missing
    facts = summary(recipe)
    if arguments.json:
        print(json.dumps({"recipe": recipe.tree(), **facts}, indent=2))
    else:
        print_table(facts)
