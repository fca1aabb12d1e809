"""`polytrain`: the command line. Each subcommand imports what it needs when it runs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from configs.errors import ConfigError
from launch.tables import print_table
from train import command

_DESCRIPTION = """\
Pretrain transformers of any modality on many machines.

  polytrain pack text stdlib shards/quickstart a corpus -> webdataset shards + index
  polytrain data show shards/quickstart        samples and statistics
  polytrain check configs/quickstart.yaml      validate a recipe and say what it would train
  polytrain plan RECIPE --gpu h100 --nodes 4   memory, time and layout on a cluster
  polytrain train configs/quickstart.yaml      train, or go on from the newest checkpoint
  polytrain generate runs/quickstart "def "    continue a prompt
  polytrain export runs/quickstart OUT         a folder that transformers loads
  polytrain import HF_FOLDER OUT               the way back: a folder of transformers as a model of ours
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit code."""
    arguments = _parser(sys.argv[1:] if argv is None else argv).parse_args(argv)
    run: Callable[[argparse.Namespace], None] = arguments.run_command
    return command.guarded(lambda: run(arguments), debug=arguments.debug)


def entry() -> None:
    """The installed command."""
    command.leave(main())


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser; only the arguments of the command that `argv` names are looked up."""
    parser = argparse.ArgumentParser(
        prog="polytrain", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"polytrain {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help_text, add_arguments, run_command in _COMMANDS:
        subparser = commands.add_parser(
            name, help=help_text, description=help_text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name not in argv:
            continue
        add_arguments(subparser)
        if not any(action.dest == "debug" for action in subparser._actions):
            subparser.add_argument("--debug", action="store_true", help="show tracebacks of user errors too")
        subparser.set_defaults(run_command=run_command)
    return parser


def _version() -> str:
    try:
        return version("polytrain")
    except PackageNotFoundError:
        return "(not installed)"


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    command.add_recipe_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.epilog = "example:\n  polytrain check configs/quickstart.yaml engine.zero=3 model.dim=256"


def _check(arguments: argparse.Namespace) -> None:
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


def _plan_arguments(parser: argparse.ArgumentParser) -> None:
    from launch import plan

    plan.add_arguments(parser)


def _plan(arguments: argparse.Namespace) -> None:
    from launch import plan

    plan.run(arguments)


def _pack_arguments(parser: argparse.ArgumentParser) -> None:
    from launch import pack

    pack.add_arguments(parser)


def _pack(arguments: argparse.Namespace) -> None:
    from launch import pack

    pack.run(arguments)


def _data_arguments(parser: argparse.ArgumentParser) -> None:
    from launch import data

    data.add_arguments(parser)


def _data(arguments: argparse.Namespace) -> None:
    from launch import data

    data.run(arguments)


def _index_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shards", nargs="+", help="webdataset tars, also as globs or braces")
    parser.epilog = "example:\n  polytrain index 'shards/theirs-{000..007}.tar'"


def _index(arguments: argparse.Namespace) -> None:
    from data.index import open_index, write_index
    from data.shards import expand

    for path in expand(arguments.shards):
        write_index(path)
        index = open_index(path)
        print(f"{path}: {len(index):,} samples, members {', '.join(index.members)}, length {index.length:,}")


def _generate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    parser.add_argument("prompts", nargs="+", metavar="PROMPT", help="text to continue; empty starts a new document")
    parser.add_argument("--tokens", type=int, default=128, help="tokens to write at most (128)")
    parser.add_argument("--temperature", type=float, default=0.8, help="0 takes the likeliest token (0.8)")
    parser.add_argument("--top-k", type=int, help="draw from the k likeliest tokens")
    parser.add_argument("--top-p", type=float, help="draw from the likeliest tokens up to this total probability")
    parser.add_argument("--min-p", type=float, help="draw from tokens with this share of the likeliest's probability")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (0)")
    parser.add_argument("--step", type=int, help="the checkpoint to use; default: the newest")
    parser.add_argument("--json", action="store_true", help="print a list of objects with prompt and text")
    parser.epilog = (
        'examples:\n  polytrain generate runs/quickstart "def " --tokens 64 --temperature 0.5\n'
        '  polytrain generate runs/quickstart "def " "class " --json'
    )


def _generate(arguments: argparse.Namespace) -> None:
    if arguments.tokens < 1:
        raise ConfigError(f"--tokens {arguments.tokens}: expected at least 1.")
    if arguments.temperature < 0:
        raise ConfigError(f"--temperature {arguments.temperature}: expected 0 or more.")
    if arguments.top_k is not None and arguments.top_k < 1:
        raise ConfigError(f"--top-k {arguments.top_k}: expected at least 1.")
    for flag, share in {"--top-p": arguments.top_p, "--min-p": arguments.min_p}.items():
        if share is not None and not 0 < share <= 1:
            raise ConfigError(f"{flag} {share}: expected more than 0 and at most 1.")
    from model.generate import Sampling
    from train.inference import TrainedModel

    model = TrainedModel.of_run(arguments.run, arguments.step)
    sampling = Sampling(arguments.temperature, arguments.top_k, arguments.top_p, arguments.min_p)
    prompts = arguments.prompts
    texts = model.continue_texts(prompts, arguments.tokens, sampling, arguments.seed)
    if arguments.json:
        pairs = zip(prompts, texts, strict=True)
        print(json.dumps([{"prompt": prompt, "text": text} for prompt, text in pairs], indent=2))
        return
    for prompt, text in zip(prompts, texts, strict=True):
        print(prompt + text)


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    from launch import imports

    imports.add_arguments(parser)


def _import(arguments: argparse.Namespace) -> None:
    from launch import imports

    imports.run(arguments)


def _export_arguments(parser: argparse.ArgumentParser) -> None:
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


def _export(arguments: argparse.Namespace) -> None:
    from train.export import export

    cls = export(arguments.source, arguments.output, step=arguments.step, dtype=arguments.dtype)
    print(f"{arguments.output}: {cls}, loads with transformers.{cls}.from_pretrained")


def _schema_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example:\n  polytrain schema > configs/recipe.schema.json"


def _schema(_arguments: argparse.Namespace) -> None:
    from configs.schema import json_schema
    from train.recipe import Recipe

    sys.stdout.write(json_schema(Recipe))


_COMMANDS: list[tuple[str, str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], None]]] = [
    ("train", "Train as a recipe says, or go on from the newest checkpoint.", command.add_arguments, command.train),
    ("check", "Validate a recipe; print it resolved, with parameters and data.", _check_arguments, _check),
    ("plan", "Plan a recipe on a cluster: memory, time, what fits.", _plan_arguments, _plan),
    ("pack", "Pack a corpus into webdataset shards with an index.", _pack_arguments, _pack),
    ("data", "Look at shards: samples, statistics, damage.", _data_arguments, _data),
    ("index", "Index webdataset shards that others wrote.", _index_arguments, _index),
    ("generate", "Continue a prompt with a trained model.", _generate_arguments, _generate),
    ("import", "Read a Hugging Face folder as a model of ours.", _import_arguments, _import),
    ("export", "Write a trained or imported model as a Hugging Face folder.", _export_arguments, _export),
    ("schema", "Print the JSON schema of recipes, for editors.", _schema_arguments, _schema),
]


if __name__ == "__main__":
    entry()
