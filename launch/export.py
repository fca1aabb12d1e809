"""`polytrain export`: a model as a Hugging Face folder."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("source", type=Path, metavar="RUN", help="a run folder, or one that `polytrain import` made")
    parser.add_argument("output", type=Path, metavar="OUT", help="the folder to create")
    parser.add_argument("--step", type=int, help="the checkpoint of a run to use; default: the newest")
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16", "float16"],
        help="of the weights; default: float32 for a run, as they are for an imported folder",
    )
    parser.epilog = (
        "examples:\n  polytrain export runs/quickstart exported\n"
        "  polytrain export imported/gpt2 exported --dtype bfloat16"
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the folder."""
    from train.export import export

    cls = export(arguments.source, arguments.output, step=arguments.step, dtype=arguments.dtype)
    print(f"{arguments.output}: {cls}, loads with transformers.{cls}.from_pretrained")
