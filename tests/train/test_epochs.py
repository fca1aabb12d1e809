"""`data.order.epochs`: a run that would draw more is refused, with the steps that fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from configs.errors import ConfigError
from data.order_options import OrderOptions
from data.sources import build_source
from train.check import summary
from train.epochs import epochs_of_run, require_epochs
from train.recipe import Recipe

RecipeOf = Callable[..., Recipe]
POINTS = {"kind": "linear_regression", "size": 30}
MIXTURE = {
    "kind": "mixture",
    "block": 8,
    "parts": {"few": {"source": POINTS, "weight": 1.0}, "many": {"source": POINTS | {"size": 1000}, "weight": 3.0}},
}


@pytest.fixture
def drawing(recipe_of: RecipeOf, tmp_path: Path) -> Callable[..., Recipe]:
    """A recipe with these steps, rows per step, epochs and source."""

    def make(steps: int, rows: int, epochs: int | None, train: dict[str, Any] = POINTS) -> Recipe:
        data = {"train": train, "order": {"epochs": epochs}}
        return recipe_of(tmp_path / "run", data=data, batch={"global": rows}, train={"steps": steps})

    return make


@pytest.mark.parametrize(("steps", "rows", "epochs"), [(15, 4, 2), (5, 6, 1), (10**6, 4, None)])
def test_a_run_within_its_epochs_starts(drawing: Callable[..., Recipe], steps: int, rows: int, epochs: int) -> None:
    recipe = drawing(steps, rows, epochs)
    require_epochs(recipe, build_source(recipe.data.train))


@pytest.mark.parametrize(("steps", "rows", "epochs", "fit"), [(16, 4, 2, 15), (6, 6, 1, 5), (1, 31, 1, 0)])
def test_a_run_beyond_its_epochs_is_refused_with_the_steps_that_fit(
    drawing: Callable[..., Recipe], steps: int, rows: int, epochs: int, fit: int
) -> None:
    recipe = drawing(steps, rows, epochs)
    with pytest.raises(ConfigError, match=rf"data\.order\.epochs={epochs}: .*Steps that fit: {fit}\.") as caught:
        require_epochs(recipe, build_source(recipe.data.train))
    assert f"train.steps={steps}" in str(caught.value)
    allowed = re.search(r"set data\.order\.epochs=(\d+)", str(caught.value))
    assert allowed is not None
    require_epochs(drawing(steps, rows, int(allowed[1])), build_source(recipe.data.train))


def test_each_part_of_a_mixture_has_its_own_epochs(drawing: Callable[..., Recipe]) -> None:
    # Two of eight rows are of the part with 30 samples: 15 steps make one epoch of it.
    assert [draws.rows for draws in epochs_of_run(drawing(15, 8, 1, MIXTURE), build_of(MIXTURE, drawing))] == [30, 90]
    require_epochs(drawing(15, 8, 1, MIXTURE), build_of(MIXTURE, drawing))
    with pytest.raises(ConfigError, match=r"data\.train\.parts\.few .*Steps that fit: 15\."):
        require_epochs(drawing(16, 8, 1, MIXTURE), build_of(MIXTURE, drawing))


def build_of(train: dict[str, Any], drawing: Callable[..., Recipe]) -> Any:
    return build_source(drawing(1, 8, None, train).data.train)


def test_check_shows_the_epochs_and_refuses_too_many(drawing: Callable[..., Recipe]) -> None:
    assert summary(drawing(12, 8, None))["epochs"] == 3.2
    facts = summary(drawing(12, 8, None, MIXTURE))
    assert (facts["epochs of few"], facts["epochs of many"]) == (0.8, 0.072)
    with pytest.raises(ConfigError, match=r"data\.order\.epochs"):
        summary(drawing(12, 8, 3))


def test_a_run_with_another_order_is_another_run(drawing: Callable[..., Recipe]) -> None:
    recipe = drawing(12, 8, None)
    other = recipe.model_copy(update={"data": recipe.data.model_copy(update={"order": OrderOptions(shuffle="window")})})
    assert other.identity() != recipe.identity()
    assert drawing(12, 8, 7).identity() == recipe.identity()
