"""`polytrain`: the command line. Each subcommand imports what it needs when it runs."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version

from train import command

_DESCRIPTION = """\
Pretrain transformers of any modality on many machines.

  polytrain pack text stdlib shards/quickstart a corpus -> webdataset shards + index
  polytrain data show shards/quickstart        samples and statistics
  polytrain check configs/quickstart.yaml      validate a recipe and say what it would train
  polytrain plan RECIPE --gpu h100 --nodes 4   memory, time and layout on a cluster
  polytrain preflight configs/quickstart.yaml  name a broken node before a run
  polytrain train configs/quickstart.yaml      train, or go on from the newest checkpoint
  polytrain launch slurm configs/quickstart.yaml --nodes 2 --gpus-per-node 8
                                               the same on a cluster
  polytrain reproduce glu                      measure a published claim again
  polytrain report runs/quickstart             curves, samples and recipe as one HTML page
  polytrain generate runs/quickstart "def "    continue a prompt
  polytrain export runs/quickstart OUT         a folder that transformers loads
  polytrain import HF_FOLDER OUT               the way back: a folder of transformers as a model of ours
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit code."""
    parser = _parser(sys.argv[1:] if argv is None else argv)
    arguments, rest = parser.parse_known_args(argv)
    # argparse takes overrides only where they stand in one row; they may follow flags too.
    if rest and (not hasattr(arguments, "overrides") or any(item.startswith("-") for item in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.overrides += rest
    run: Callable[[argparse.Namespace], None] = arguments.run_command
    return command.guarded(lambda: run(arguments), debug=arguments.debug)


def entry() -> None:
    """The installed command."""
    try:
        code = main()
    except KeyboardInterrupt:  # while a subcommand was being imported
        code = command.interrupted()
    command.leave(code)


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser; only the arguments of the command that `argv` names are looked up."""
    parser = argparse.ArgumentParser(
        prog="polytrain", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"polytrain {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help_text, module_name in _COMMANDS:
        subparser = commands.add_parser(
            name, help=help_text, description=help_text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name not in argv:
            continue
        module = importlib.import_module(module_name)
        module.add_arguments(subparser)
        if not any(action.dest == "debug" for action in subparser._actions):
            subparser.add_argument("--debug", action="store_true", help="show tracebacks of user errors too")
        subparser.set_defaults(run_command=module.run)
    return parser


def _version() -> str:
    try:
        return version("polytrain")
    except PackageNotFoundError:
        return "(not installed)"


_COMMANDS = [
    ("train", "Train as a recipe says, or go on from the newest checkpoint.", "train.command"),
    ("launch", "Start runs on SLURM, look at them, end them.", "launch.cluster"),
    ("check", "Validate a recipe; print it resolved, with parameters and data.", "launch.check"),
    ("preflight", "Look at every node before a run; name a broken one.", "launch.preflight.command"),
    ("plan", "Plan a recipe on a cluster: memory, time, what fits.", "launch.plan"),
    ("pack", "Pack a corpus into webdataset shards with an index.", "launch.pack"),
    ("data", "Look at shards: samples, statistics, damage.", "launch.data"),
    ("index", "Index webdataset shards that others wrote.", "launch.index"),
    ("report", "Show runs as one HTML page: curves, samples, recipe.", "launch.report.command"),
    ("reproduce", "Measure a published claim again: train its arms, compare.", "launch.reproduce.command"),
    ("generate", "Continue a prompt with a trained or imported model.", "launch.generate"),
    ("import", "Read a Hugging Face folder as a model of ours.", "launch.imports"),
    ("export", "Write a trained or imported model as a Hugging Face folder.", "launch.export"),
    ("schema", "Print the JSON schema of recipes, for editors.", "launch.schema"),
]
"""Name, what it does, and the module of its `add_arguments` and `run`."""


if __name__ == "__main__":
    entry()
