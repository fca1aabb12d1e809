"""How many epochs a run draws, and whether `data.order.epochs` allows them. Free of torch."""

from __future__ import annotations

import math
from bisect import bisect_right

from configs.errors import ConfigError
from data.order import Draws, draws_of
from data.sample import Source
from train.recipe import Recipe


def epochs_of_run(recipe: Recipe, source: Source, steps: int | None = None) -> list[Draws]:
    """What the first `steps` steps (all, where None) of a run on `source` draw: of each part, for a mixture."""
    steps = recipe.train.steps if steps is None else steps
    rows = recipe.batch.global_
    return draws_of(source, len(source), seed=recipe.seed, global_rows=rows, steps=steps)


def require_epochs(recipe: Recipe, source: Source) -> None:
    """Check that the run draws no more epochs than `data.order.epochs`.

    Raises:
        ConfigError: with the steps that fit.
    """
    limit = recipe.data.order.epochs
    if limit is None:
        return
    most = max(epochs_of_run(recipe, source), key=lambda draws: draws.epochs)
    if most.rows <= limit * most.num_samples:
        return

    def exceeds(steps: int) -> bool:
        return any(draws.rows > limit * draws.num_samples for draws in epochs_of_run(recipe, source, steps))

    fitting = bisect_right(range(recipe.train.steps + 1), False, key=exceeds) - 1
    where = f"data.train.parts.{most.name}" if most.name else "data.train"
    shorter = f"set train.steps={fitting} or lower" if fitting else "no step fits"
    raise ConfigError(
        f"data.order.epochs={limit}: train.steps={recipe.train.steps} of batch.global={recipe.batch.global_} rows draw "
        f"{most.epochs:.2f} epochs of {where} ({most.rows:,} rows, {most.num_samples:,} samples). Steps that fit: "
        f"{fitting:,}. Either {shorter}, or lower batch.global, or set data.order.epochs={math.ceil(most.epochs)} "
        "or null (endless)."
    )
