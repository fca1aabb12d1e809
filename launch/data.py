"""`polytrain data show|verify|list`: what shards hold, whether they are whole, public data sets by name."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.errors import ConfigError, DataError
from launch.tables import print_table

_SHOW_EXAMPLES = """\
examples:
  polytrain data show shards/quickstart                      a packed corpus
  polytrain data show 'theirs-{000..007}.tar' --samples 8    indexed shards
  polytrain data show configs/quickstart.yaml                what a recipe trains on
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its subcommands."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = commands.add_parser("show", help="Print samples and statistics.", epilog=_SHOW_EXAMPLES)
    show.formatter_class = argparse.RawDescriptionHelpFormatter
    show.add_argument("what", metavar="WHAT", nargs="+", help="a packed folder, indexed shards, or a recipe")
    show.add_argument("--samples", type=int, default=3, help="samples to print, spread evenly (3)")
    show.add_argument("--key", default="data.train", help="which source of a recipe (data.train)")
    show.add_argument("--json", action="store_true", help="print one JSON object")
    verify = commands.add_parser("verify", help="Read whole shards and compare their hashes with the index.")
    verify.add_argument("what", metavar="WHAT", nargs="+", help="a packed folder, or indexed shards")
    listing = commands.add_parser("list", help="List the public data sets that `polytrain pack dataset` knows.")
    listing.add_argument("--json", action="store_true", help="print one JSON object")
    for subparser in (show, verify, listing):
        subparser.add_argument("--debug", action="store_true", help="show tracebacks of user errors too")


def run(arguments: argparse.Namespace) -> None:
    """Show, verify or list."""
    if arguments.action == "list":
        _list(as_json=arguments.json)
    elif arguments.action == "verify":
        _verify(_shards(arguments.what))
    elif len(arguments.what) == 1 and arguments.what[0].endswith((".yaml", ".yml")):
        _show_source(arguments)
    else:
        _show_shards(arguments)


def _shards(names: Sequence[str]) -> list[str]:
    from data.shards import expand

    found: list[str] = []
    for name in names:
        if Path(name).is_dir():
            shards = sorted(str(path) for path in Path(name).glob("*.tar"))
            if not shards:
                raise DataError(f"{name}: no shards (*.tar) in this folder.")
            found += shards
        else:
            found += expand([name])
    return found


def _list(*, as_json: bool) -> None:
    from data.packing.catalogue import catalogue

    found = catalogue()
    if as_json:
        print(json.dumps({name: dataset.tree() for name, dataset in found.items()}, indent=2))
        return
    width = max(map(len, found))
    for name, dataset in found.items():
        print(f"{name:<{width}}  {dataset.modality:<12}  {dataset.about} ({dataset.licence})")


def _verify(shards: Sequence[str]) -> None:
    from tqdm import tqdm

    from data.index import open_index

    damaged = []
    for path in tqdm(shards, desc="verifying", unit=" shards", disable=None):
        try:
            open_index(path).verify_shard()
        except DataError as error:
            damaged.append(str(error))
    print(f"{len(shards) - len(damaged)} of {len(shards)} shard(s) are whole")
    if damaged:
        raise DataError("\n".join(damaged))


def _show_source(arguments: argparse.Namespace) -> None:
    from data.sources import build_source, source_at

    source = build_source(source_at(arguments.what[0], arguments.key))
    facts: dict[str, Any] = {"source": f"{arguments.what[0]}, {arguments.key}", "samples": len(source)}
    _print(facts, source, _tokenizer_beside(arguments.what[0]), arguments)


def _show_shards(arguments: argparse.Namespace) -> None:
    from data.samples import Samples
    from data.sources import SamplesOptions
    from data.statistics import shard_statistics

    shards = _shards(arguments.what)
    source = Samples(SamplesOptions(shards=shards), unknown_as_bytes=True)
    _print(shard_statistics(source.indexes), source, _tokenizer_beside(shards[0]), arguments)


def _print(facts: dict[str, Any], source: Any, tokenizer: Path | None, arguments: argparse.Namespace) -> None:
    from data.describe import Describer
    from data.sample import SampleError
    from data.transforms import name_of

    if arguments.samples < 0:
        raise ConfigError(f"--samples {arguments.samples}: expected 0 or more.")
    describer = Describer(tokenizer, is_terminal=sys.stdout.isatty())
    count = min(arguments.samples, len(source))
    samples: list[dict[str, Any]] = []
    for number in range(count):
        index = number * len(source) // count
        try:
            fields = describer.describe(source[index])
        except SampleError as error:
            fields = {"error": str(error)}
        samples.append({"name": name_of(source, index), "fields": fields})
    unreadable = [str(sample["fields"]["error"]) for sample in samples if "error" in sample["fields"]]
    if arguments.json:
        print(json.dumps({**facts, "examples": samples}, indent=2))
        return
    print_table(facts)
    for sample in samples:
        print(f"\n{sample['name']}")
        for field, text in sample["fields"].items():
            head, *rest = text.splitlines() or [""]
            print("\n".join([f"  {field}: {head}", *(f"    {line}" for line in rest)]))
    if unreadable:
        raise DataError(f"{len(unreadable)} of {len(samples)} samples cannot be read")


def _tokenizer_beside(path: str) -> Path | None:
    """The tokenizer.json in the folder of a local file."""
    candidate = Path(path).parent / "tokenizer.json"
    return candidate if candidate.is_file() else None
