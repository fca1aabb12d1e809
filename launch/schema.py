"""`polytrain schema`: the JSON schema of recipes and papers."""

from __future__ import annotations

import argparse
import sys

_EXAMPLES = """\
examples:
  polytrain schema > configs/recipe.schema.json
  polytrain schema paper > configs/paper.schema.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("of", nargs="?", choices=["recipe", "paper"], default="recipe", help="of what files (recipe)")


def run(arguments: argparse.Namespace) -> None:
    """Print it."""
    from configs.schema import json_schema
    from train.recipe import Recipe
    from train.reproduce.paper import Paper

    sys.stdout.write(json_schema(Paper if arguments.of == "paper" else Recipe))
