"""`polytrain schema`: the JSON schema of recipes."""

from __future__ import annotations

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.epilog = "example:\n  polytrain schema > configs/recipe.schema.json"


def run(_arguments: argparse.Namespace) -> None:
    """Print it."""
    from configs.schema import json_schema
    from train.recipe import Recipe

    sys.stdout.write(json_schema(Recipe))
