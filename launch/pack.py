"""`polytrain pack KIND CORPUS OUTPUT`: the flags of a kind are the fields of its options."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, cast, get_args

from configs.options import validate
from data.packing.kinds import AnyPack
from data.packing.options import PackOptions
from launch.flags import add_flags, given
from launch.tables import print_table

_EXAMPLES = """\
examples:
  polytrain pack text stdlib shards/quickstart --vocab-size 4096
  polytrain pack text corpus.jsonl.zst shards/corpus --tokenizer tokenizer.json --workers 16
  polytrain pack images photos/ shards/photos --dry-run
  polytrain pack dataset fashion-mnist shards/fashion-mnist
  polytrain pack table apt:NAME//usr/share/NAME/table.csv shards/table --target label

An interrupted command goes on where it was when it is run again.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One subcommand per kind."""
    parser.epilog = _EXAMPLES
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for options in get_args(AnyPack):
        about = (options.__doc__ or "").strip().splitlines()[0]
        subparser = kinds.add_parser(
            options.model_fields["kind"].default,
            help=about,
            description=about,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        subparser.add_argument("corpus", metavar="CORPUS", help="where it is")
        subparser.add_argument("output", metavar="OUTPUT", type=Path, help="the folder to make")
        add_flags(subparser, options, leave_out={"kind", "corpus"})
        _add_common(subparser)
        subparser.set_defaults(options_class=options)
    dataset = kinds.add_parser("dataset", help="A public data set by name: polytrain data list.")
    dataset.add_argument("name", metavar="NAME", help="its name; polytrain data list")
    dataset.add_argument("output", metavar="OUTPUT", type=Path, help="the folder to make")
    dataset.add_argument("overrides", metavar="key=value", nargs="*", help="other options than those of the list")
    _add_common(dataset)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (one per core)")
    parser.add_argument("--dry-run", action="store_true", help="list what would be packed, and write nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--debug", action="store_true", help="show tracebacks of user errors too")


def run(arguments: argparse.Namespace) -> None:
    """Pack, or say what would be packed."""
    options = _options(arguments)
    from data.packing.driver import pack, survey

    if arguments.dry_run:
        _print_survey(survey(options), as_json=arguments.json)
        return
    was_there = arguments.output.exists()
    corpus = pack(options, arguments.output, workers=max(1, arguments.workers))
    if was_there:
        print(f"{arguments.output}: packed before; nothing was done. Remove it to pack anew.", file=sys.stderr)
    if arguments.json:
        print(json.dumps(corpus, indent=2))
    else:
        _print_corpus(arguments.output, corpus)


def _options(arguments: argparse.Namespace) -> PackOptions:
    if arguments.kind == "dataset":
        from data.packing.catalogue import pack_options

        return pack_options(arguments.name, arguments.overrides)
    options_class: type[PackOptions] = arguments.options_class
    tree = {"kind": arguments.kind} | given(arguments, options_class)
    return cast(PackOptions, validate(options_class, tree, f"polytrain pack {arguments.kind}"))


def _print_survey(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(found, indent=2))
        return
    print_table(
        {split: f"{facts['examples']:,} examples: {', '.join(facts['first'])}" for split, facts in found.items()}
    )
    print("nothing was written (--dry-run)")


def _print_corpus(output: Path, corpus: dict[str, Any]) -> None:
    rows = {"corpus": str(output)}
    for split, content in corpus["splits"].items():
        length = f"  length {content['length']:,}" if content["length"] else ""
        rows[split] = f"{content['samples']:,} samples{length}  {len(content['shards'])} shard(s)"
    if "tokenizer" in corpus:
        rows["tokenizer"] = f"{corpus['tokenizer']['vocab_size']:,} entries"
    if corpus.get("bad"):
        rows["left out"] = f"{len(corpus['bad'])} damaged; named in {output / 'corpus.json'}"
    print_table(rows)
