"""`polytrain report`: the arguments, and the file."""

from __future__ import annotations

import argparse
from pathlib import Path

from configs.errors import ConfigError
from configs.files import replace_file

_EXAMPLES = """\
examples:
  polytrain report runs/quickstart
  polytrain report runs/small runs/large -o compared.html

One page without a server or a network: curves, samples, recipe, environment, checkpoints. Runs given
together share their charts. A run in progress may be reported; the page is as new as the command.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folders")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("report.html"), help="the page to write (report.html)"
    )
    parser.epilog = _EXAMPLES


def run(arguments: argparse.Namespace) -> None:
    """Read the runs, and write the page.

    Raises:
        ConfigError: when one is not a run folder, or the page cannot be written.
    """
    output: Path = arguments.output
    if output.suffix != ".html":
        raise ConfigError(f"--output {output}: expected a name that ends in .html.")
    from launch.report.page import page
    from launch.report.runs import read_runs

    written = page(read_runs(arguments.runs))
    try:
        # Samples may hold halves of surrogate pairs, which no encoding knows.
        replace_file(output, written.encode("utf-8", "replace"))
    except OSError as error:
        raise ConfigError(f"--output {output}: cannot be written: {error}") from None
    print(output)
