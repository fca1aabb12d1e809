"""`polytrain index`: make shards that others wrote readable at any position."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("shards", nargs="+", help="webdataset tars, also as globs or braces")
    parser.epilog = "example:\n  polytrain index 'shards/theirs-{000..007}.tar'"


def run(arguments: argparse.Namespace) -> None:
    """Write an index beside each shard."""
    from data.index import open_index, write_index
    from data.shards import expand

    for path in expand(arguments.shards):
        write_index(path)
        index = open_index(path)
        print(f"{path}: {len(index):,} samples, members {', '.join(index.members)}, length {index.length:,}")
