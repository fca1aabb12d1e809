"""`polytrain reproduce`: train the arms of a published claim, and say whether it holds."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import ConfigError
from configs.options import nearest
from launch.tables import print_columns

if TYPE_CHECKING:
    from launch.reproduce.page import Result
    from train.reproduce.paper import Paper
    from train.reproduce.runs import Run

EXIT_NOT_SHOWN = 3

_EXAMPLES = f"""\
examples:
  polytrain reproduce                          the claims that there are
  polytrain reproduce glu                      train every arm with every seed, and judge
  polytrain reproduce glu --seeds 0 --dry-run  what would be trained
  polytrain reproduce mine.yaml --ranks 2      a claim of your own (docs/reproduce.md)

Runs are ordinary run folders under --out: stopped at any time, the same command goes on. With --arms, comparisons of
other arms are left out.

exit codes: 0 all comparisons hold, {EXIT_NOT_SHOWN} some do not or are undecided, 2 wrong arguments, or a run failed
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("paper", nargs="?", metavar="PAPER", help="its name, or a YAML file; default: list all")
    parser.add_argument("--seeds", metavar="N,N,...", help="default: those of the paper")
    parser.add_argument("--arms", metavar="NAME,NAME,...", help="default: all")
    parser.add_argument("--ranks", type=int, default=1, metavar="N", help="processes of each run (1)")
    parser.add_argument("--out", type=Path, default=Path("runs/papers"), metavar="DIR", help="(runs/papers)")
    parser.add_argument("--dry-run", action="store_true", help="print the runs, train nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object, as result.json")


def run(arguments: argparse.Namespace) -> None:
    """List, or reproduce one."""
    from train.reproduce.paper import load_paper, papers
    from train.reproduce.runs import runs_of

    if arguments.paper is None:
        _list({name: load_paper(name) for name in papers()})
        return
    paper = load_paper(arguments.paper)
    seeds = _seeds(arguments.seeds) or paper.seeds
    arms = _arms(arguments.arms, paper)
    if arguments.ranks < 1:
        raise ConfigError(f"--ranks {arguments.ranks}: expected at least 1.")
    folder = arguments.out / Path(arguments.paper).stem
    if arguments.dry_run:
        _print_runs(runs_of(paper, folder, seeds=seeds, arms=arms))
        return
    _prepare(paper)
    runs = runs_of(paper, folder, seeds=seeds, arms=arms)
    print(f"{paper.title} ({paper.authors} {paper.year})\n{paper.claim}\n", file=sys.stderr)
    _train(runs, arguments.ranks)
    result = _result(arguments.paper, paper, runs)
    _show(result, folder, as_json=arguments.json)
    if not result.holds:
        from train.command import leave

        leave(EXIT_NOT_SHOWN)


def _list(found: dict[str, Paper]) -> None:
    rows = [
        {"paper": name, "of": f"{paper.authors} {paper.year}", "runs": len(paper.arms) * len(paper.seeds)}
        | {"minutes": f"{paper.minutes:g}", "title": paper.title}
        for name, paper in found.items()
    ]
    print_columns(["paper", "of", "runs", "minutes", "title"], rows)


def _prepare(paper: Paper) -> None:
    """Make the shards that are missing."""
    from train.reproduce.runs import our_environment

    for item in paper.prepare:
        if not Path(item.makes).exists():
            command = [sys.executable, "-m", "launch.cli", *item.polytrain]
            code = subprocess.run(command, env=our_environment()).returncode
            if code or not Path(item.makes).exists():
                asked = " ".join(item.polytrain)
                raise ConfigError(f"prepare: polytrain {asked} (exit code {code}) did not make {item.makes}.")


def _print_runs(runs: list[Run]) -> None:
    for item in runs:
        state = "finished" if item.is_finished else f"at step {item.step}" if item.step else "not begun"
        print(f"{item.folder}: {state}, {item.recipe.train.steps} steps")
        print(f"  python -m train {item.base} {' '.join(item.overrides)}")


def _train(runs: list[Run], ranks: int) -> None:
    from tqdm import tqdm

    total = sum(item.recipe.train.steps for item in runs)
    with tqdm(total=total, unit="step", dynamic_ncols=True, disable=None) as bar:
        before = 0
        for item in runs:
            bar.set_description(f"{item.arm}, seed {item.seed}")

            def report(step: int, before: int = before) -> None:
                bar.update(before + step - bar.n)

            if not item.is_finished:
                if bar.disable:  # no terminal: a line for every run
                    print(
                        f"{item.arm}, seed {item.seed}: step {item.step} of {item.recipe.train.steps}", file=sys.stderr
                    )
                item.train(ranks, report)
            before += item.recipe.train.steps
            bar.update(before - bar.n)


def _result(name: str, paper: Paper, runs: list[Run]) -> Result:
    from launch.reproduce.page import Result
    from train.reproduce.runs import figure_of
    from train.reproduce.verdict import verdict

    figures: dict[str, dict[str, list[float]]] = {}
    for key, figure in paper.figures.items():
        for item in [run for run in runs if run.arm in paper.arms_of(key)]:
            figures.setdefault(key, {}).setdefault(item.arm, []).append(figure_of(item, key, figure))
    verdicts = [
        (comparison, verdict(comparison, figures[comparison.figure]))
        for comparison in paper.comparisons
        if set(comparison.arms) <= {item.arm for item in runs}
    ]
    return Result(Path(name).stem, paper, sorted({item.seed for item in runs}), figures, verdicts)


def _show(result: Result, folder: Path, *, as_json: bool) -> None:
    from configs.files import replace_file
    from launch.reproduce.page import drawing, json_text, markdown

    replace_file(folder / "result.json", json_text(result))
    replace_file(folder / "plot.svg", drawing(result))
    replace_file(folder / "page.md", markdown(result, "plot.svg"))
    if as_json:
        print(json_text(result), end="")
        return
    print_columns(["arm", *result.figures], result.arm_rows())
    if result.verdicts:
        print()
        print_columns(["comparison", "expected", "measured", "interval", "verdict"], result.verdict_rows())
    print(f"\n{folder}: result.json, plot.svg, page.md")


def _seeds(text: str | None) -> list[int]:
    try:
        seeds = [int(item) for item in text.split(",")] if text else []
    except ValueError:
        raise ConfigError(f"--seeds {text}: expected numbers between commas, such as 0,1,2.") from None
    if any(seed < 0 for seed in seeds) or len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds {text}: expected different numbers from 0.")
    return seeds


def _arms(text: str | None, paper: Paper) -> list[str]:
    arms = text.split(",") if text else list(paper.arms)
    for arm in arms:
        if arm not in paper.arms:
            raise ConfigError(f"--arms {text}: unknown arm '{arm}'; {nearest(arm, paper.arms)}")
    return list(dict.fromkeys(arms))
