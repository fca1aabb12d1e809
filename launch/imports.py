"""`polytrain import`: a Hugging Face folder as a folder of ours."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import ConfigError
from launch.tables import print_table

if TYPE_CHECKING:
    from model.interop.importing import Coverage

_EXAMPLES = """\
examples:
  polytrain import downloads/gpt2 imported/gpt2
  polytrain import downloads/qwen3 imported/qwen3 --dtype float32 --verbose
  polytrain import downloads/llama imported/llama --allow-unexpected 'vision.*'

OUT/model.yaml holds the `model:` section of a recipe. `polytrain export OUT FOLDER` is the way back.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("source", type=Path, metavar="HF_FOLDER", help="a local folder: config.json and safetensors")
    parser.add_argument("output", type=Path, metavar="OUT", help="the folder to create")
    parser.add_argument(
        "--dtype", choices=["float32", "bfloat16", "float16"], help="of the weights; default: as they are"
    )
    for what, whose in {"missing": "weights of ours", "unexpected": "weights of theirs"}.items():
        parser.add_argument(
            f"--allow-{what}",
            action="append",
            default=[],
            metavar="PATTERN",
            help=f"go on although {whose} with such names are {what}; may be given again",
        )
    parser.add_argument("--verbose", action="store_true", help="the names too, not only how many")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.epilog = _EXAMPLES


def run(arguments: argparse.Namespace) -> None:
    """Read, report, and write; or refuse."""
    if arguments.output.exists():
        raise ConfigError(f"{arguments.output}: exists. Choose a folder that does not, or remove it.")
    import torch

    from model.interop.importing import Import

    found = Import.of(arguments.source)
    _report(found.coverage, verbose=arguments.verbose, as_json=arguments.json)
    found.require_covered(arguments.allow_missing, arguments.allow_unexpected)
    found.write(arguments.output, None if arguments.dtype is None else getattr(torch, arguments.dtype))


def _report(coverage: Coverage, *, verbose: bool, as_json: bool) -> None:
    facts = dataclasses.asdict(coverage)
    if as_json:
        print(json.dumps(facts, indent=2), flush=True)
        return
    table = {name: len(value) if isinstance(value, list) else value for name, value in facts.items()}
    if "tokenizer.json" not in coverage.tokenizer:
        table["tokenizer"] = f"{len(coverage.tokenizer)} (no tokenizer.json, which `polytrain generate` needs)"
    print_table(table)
    for name, value in facts.items():
        if verbose and isinstance(value, list) and value:
            print("\n".join([f"{name}:", *(f"  {item}" for item in value)]))
