"""Sweeps: `--sweep optimizer.lr=1e-3,3e-4 --sweep seed=0,1` is four runs, one for each combination."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from configs.errors import ConfigError


def expand_sweep(sweeps: Sequence[str], run: str) -> list[list[str]]:
    """The overrides of each run: its values, and a run folder of its own that is named after them.

    Args:
        sweeps: `key=value,value,...`; commas inside brackets or braces belong to a value.
        run: the run folder of the recipe; the runs are `<run>.sweep/000-key=value,...`.

    Raises:
        ConfigError: for an item of another form, a key that is given twice, or `run`.
    """
    choices: dict[str, list[str]] = {}
    for item in sweeps:
        key, equals, values = item.partition("=")
        if not equals or not key or not all(_split(values)):
            raise ConfigError(f"--sweep {item}: expected key=value,value,..., such as optimizer.lr=1e-3,3e-4.")
        if key in choices:
            raise ConfigError(f"--sweep {item}: {key} is swept twice; give all its values at once.")
        if key == "run":
            raise ConfigError(f"--sweep {item}: each run of a sweep gets a folder of its own already.")
        choices[key] = [f"{key}={value}" for value in _split(values)]
    combinations = [list(items) for items in itertools.product(*choices.values())]
    return [[f"run={_folder(run, number, items)}", *items] for number, items in enumerate(combinations)]


def _split(values: str) -> list[str]:
    """Between the commas that stand outside of brackets and braces."""
    parts, depth = [""], 0
    for character in values:
        depth += (character in "[{") - (character in "]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _folder(run: str, number: int, items: Sequence[str]) -> Path:
    name = re.sub(r"[^\w.,=+-]+", "_", ",".join(items))
    return Path(f"{run}.sweep") / f"{number:03d}-{name}"
