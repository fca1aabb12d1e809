"""The rows of a run in other trackers (`log.trackers`), through Accelerate's tracker classes. Rank 0 only.

`runs/<name>/trackers.json` keeps the name that each tracker gave to the run, so that a resumed run goes on in it.
Numbers are sent, under the names that TensorBoard shows; texts are not. Tested with doubles of the packages.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS

from configs.errors import ConfigError
from configs.files import replace_file
from train.metrics import Row, numbers_of
from train.recipe import Recipe
from train.tracker_options import TrackerOptions


class Tracker:
    """One run in one tracker."""

    def __init__(self, options: TrackerOptions, recipe: Recipe, folder: Path) -> None:
        PartialState()  # Accelerate's trackers ask it who is rank 0
        names = folder / "trackers.json"
        known: dict[str, str] = json.loads(names.read_text()) if names.exists() else {}
        found: Any = LOGGER_TYPE_TO_CLASS[options.kind]
        place = {"logging_dir": str(folder)} if found.requires_logging_directory else {}
        going_on = options.going_on(known[options.kind]) if options.kind in known else {}
        try:
            self._tracker = found(options.project, **place, **options.options, **going_on)
            self._tracker.start()
        except Exception as error:  # the package's own: wrong options, no login, no network
            raise ConfigError(
                f"log.trackers: {options.kind} could not be started: {error!r}. Mend its options, or log in to it, or "
                "take it out of log.trackers."
            ) from error
        if not going_on:
            self._tracker.store_init_configuration(flattened(recipe.tree()))
            known[options.kind] = options.run_id(self._tracker.tracker)
            replace_file(names, json.dumps(known, indent=2) + "\n")

    def add(self, prefix: str, row: Row) -> None:
        """Send the numbers of a row."""
        numbers = {f"{prefix}/{key}": value for key, value in numbers_of(row).items()}
        if numbers:
            self._tracker.log(numbers, step=row["step"])

    def close(self) -> None:
        """Send what is left."""
        self._tracker.finish()


def flattened(tree: dict[str, Any], prefix: str = "") -> dict[str, str | int | float | bool]:
    """The scalars of a recipe by dotted key; lists and null as JSON."""
    found: dict[str, str | int | float | bool] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            found |= flattened(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value if isinstance(value, str | int | float) else json.dumps(value)
    return found
