"""The runs of a paper: their recipes, training what is missing, and the figures out of what they logged."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.errors import ConfigError, TrainingError
from train.metrics import Row, read_rows
from train.recipe import Recipe, differences, load_recipe, recipe_of_run
from train.reproduce.paper import Figure, Paper

_POLL_S = 1.0


@dataclass(frozen=True)
class Run:
    """One arm with one seed."""

    arm: str
    seed: int
    base: str
    overrides: tuple[str, ...]
    folder: Path
    recipe: Recipe

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def rows(self) -> list[Row]:
        """What it has measured so far."""
        return read_rows(self.folder / "metrics.jsonl")

    @property
    def step(self) -> int:
        """How far it is."""
        return max((row["step"] for row in self.rows), default=0)

    @property
    def is_finished(self) -> bool:
        """Whether it ended as it should, by its own account."""
        return self._finished.exists()

    @property
    def _finished(self) -> Path:
        return self.folder / "finished"

    def require_same_recipe(self) -> None:
        """Check that what lies in its folder was trained by this recipe.

        Raises:
            ConfigError: when the paper has changed since.
        """
        if (self.folder / "config.yaml").exists():
            # Read as a recipe: what an older version did not know has its default.
            differing = differences(self.recipe.tree(), recipe_of_run(self.folder).tree())
            if differing:
                changed = "; ".join(differing[:3])
                raise ConfigError(
                    f"{self.folder}: was trained by another recipe ({changed}). Remove it, or choose another --out."
                )

    def train(self, ranks: int, report: Callable[[int], None]) -> None:
        """Train to the end, or go on; `report` is told the step now and then.

        Raises:
            TrainingError: when it fails.
        """
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
        command = [sys.executable, *launcher, "-m", "train", self.base, *self.overrides]
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("a") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=our_environment())
            try:
                while process.poll() is None:
                    report(self.step)
                    time.sleep(_POLL_S)
            except BaseException:
                process.terminate()  # it saves, and goes on next time
                process.wait()
                raise
        if process.returncode:
            lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
            last = lines[-1] if lines else "it printed nothing"
            name = f"{self.arm}, seed {self.seed}"
            raise TrainingError(f"{name}: ended with exit code {process.returncode}: {last} (all of it: {self.log})")
        self._finished.touch()
        report(self.recipe.train.steps)


def runs_of(paper: Paper, folder: Path, *, seeds: Sequence[int], arms: Sequence[str]) -> list[Run]:
    """All runs, seed after seed, so that what is there early is of every arm.

    Raises:
        ConfigError: when an arm is no valid recipe, or its folder holds something else.
    """
    found = list(_runs(paper, folder, seeds, arms))
    for run in found:
        run.require_same_recipe()
    return found


def _runs(paper: Paper, folder: Path, seeds: Sequence[int], arms: Sequence[str]) -> Iterator[Run]:
    for seed in seeds:
        for arm in arms:
            name = re.sub(r"[^\w.+-]+", "_", arm)
            path = folder / f"{name}-seed{seed}"
            base, overrides = paper.of_arm(arm)
            overrides = (*overrides, f"run={path}", f"seed={seed}")
            try:
                recipe = load_recipe(base, overrides)
            except ConfigError as error:
                raise ConfigError(f"arm {arm}: {error}") from None
            yield Run(arm, seed, base, overrides, path, recipe)


def figure_of(run: Run, name: str, figure: Figure) -> float:
    """A figure of a finished run.

    Raises:
        ConfigError: when no row has it; naming what there is.
    """
    rows = [row for row in run.rows if row.get("probe") == figure.probe]
    values = [float(row[figure.key]) for row in rows if isinstance(row.get(figure.key), int | float)]
    if len(values) < figure.last:
        where = f"probe {figure.probe}" if figure.probe else "training steps"
        known = sorted({key for row in rows for key, value in row.items() if isinstance(value, int | float)})
        has = f"has {', '.join(known)} in {len(rows)} rows" if known else "has no rows"
        wanted = f"'{figure.key}' of {where} is wanted {figure.last} times"
        raise ConfigError(f"figures.{name}: {wanted}; {run.folder} {has}.")
    return sum(values[-figure.last :]) / figure.last


def our_environment() -> dict[str, str]:
    """For processes that run the code this process runs, wherever they are started."""
    paths = [str(Path(__file__).parents[2]), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
