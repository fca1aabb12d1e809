"""`polytrain launch slurm|status|logs|cancel`."""

from __future__ import annotations

import argparse

from launch import jobs, slurm


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One subcommand for each thing that is done to a job."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    submit = actions.add_parser("slurm", help="Check a recipe and submit it: sbatch.")
    slurm.add_arguments(submit)
    submit.formatter_class = argparse.RawDescriptionHelpFormatter
    submit.set_defaults(run_action=slurm.run)
    for name, help_text, run_action in (
        ("status", "What became of jobs, and how far their runs have come.", jobs.status),
        ("logs", "The end of each log of a job.", jobs.logs),
        ("cancel", "End jobs.", jobs.cancel),
    ):
        subparser = actions.add_parser(name, help=help_text, description=help_text)
        jobs.add_arguments(subparser, action=name)
        subparser.add_argument("--debug", action="store_true", help="show tracebacks of user errors too")
        subparser.set_defaults(run_action=run_action)


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    arguments.run_action(arguments)
