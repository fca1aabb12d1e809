"""Trackers, with doubles of their packages: what Accelerate's classes call on them."""

from __future__ import annotations

import importlib.machinery
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, get_args

import pytest

from configs.errors import ConfigError
from configs.options import validate
from train.metrics import MetricsLog
from train.options import LogOptions
from train.recipe import Recipe
from train.tracker_options import AnyTracker, MLflowOptions, TrackerOptions, WandbOptions, require_packages
from train.trackers import Tracker, flattened

ALL = [item.model_fields["kind"].default for item in get_args(get_args(AnyTracker)[0])]


class Package(ModuleType):
    """A double that records its calls, and that `find_spec` finds."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def record(self, what: str, result: Any = None) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((what, dict(enumerate(args)) | kwargs))
            return result

        return call

    def of(self, what: str) -> list[dict[str, Any]]:
        return [arguments for name, arguments in self.calls if name == what]


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Package:
    package = Package("wandb")
    run = SimpleNamespace(id="abc123", log=package.record("log"), finish=package.record("finish"))
    package.init = package.record("init", run)
    package.config = SimpleNamespace(update=package.record("config"))
    monkeypatch.setitem(sys.modules, "wandb", package)
    return package


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Package:
    package = Package("mlflow")
    package.search_experiments = package.record("search", [SimpleNamespace(experiment_id="5")])
    package.start_run = package.record("start", SimpleNamespace(info=SimpleNamespace(run_id="r-1")))
    package.log_params = package.record("params")
    package.log_metrics = package.record("log")
    package.end_run = package.record("end")
    limits = SimpleNamespace(MAX_PARAM_VAL_LENGTH=500, MAX_PARAMS_TAGS_PER_BATCH=100)
    package.utils = SimpleNamespace(validation=limits)
    monkeypatch.setitem(sys.modules, "mlflow", package)
    return package


def train(folder: Path, options: TrackerOptions, recipe: Recipe, step: int) -> None:
    with MetricsLog(folder / "rows", [Tracker(options, recipe, folder)], step=step, last=10) as log:
        row = {"loss": 0.5, "lr": 0.1, "grad_norm": 2.0, "tokens_per_s": 1.0, "data_wait_s": 0.0, "mfu": None}
        log.step({"step": step + 1, **row, "straggler": "rank 1 on here"})
        log.probe("validation", step + 1, {"loss": 0.7})


def test_wandb_gets_the_numbers_and_a_resumed_run_goes_on_in_its_run(
    wandb: Package, tmp_path: Path, recipe_of: Callable[..., Recipe]
) -> None:
    options, recipe = WandbOptions(project="mine", options={"entity": "me"}), recipe_of(tmp_path)
    train(tmp_path, options, recipe, 0)
    train(tmp_path, options, recipe, 1)
    first, second = wandb.of("init")
    assert first == {"project": "mine", "entity": "me"}
    assert second == {"project": "mine", "entity": "me", "id": "abc123", "resume": "must"}
    (config,) = wandb.of("config")
    assert config[0]["optimizer.lr"] == recipe.optimizer.lr
    train_row, probe_row = wandb.of("log")[:2]
    assert train_row[0].keys() == {f"train/{key}" for key in ("loss", "lr", "grad_norm", "tokens_per_s", "data_wait_s")}
    assert train_row["step"] == 1
    assert probe_row[0] == {"probe/validation/loss": 0.7}
    assert len(wandb.of("finish")) == 2


def test_mlflow_goes_on_by_the_name_that_it_gave(
    mlflow: Package, tmp_path: Path, recipe_of: Callable[..., Recipe]
) -> None:
    train(tmp_path, MLflowOptions(), recipe_of(tmp_path), 0)
    train(tmp_path, MLflowOptions(), recipe_of(tmp_path), 1)
    assert [item["run_id"] for item in mlflow.of("start")] == [None, "r-1"]
    # Its parameters cannot be changed: they are sent once.
    assert len({json.dumps(item) for item in mlflow.of("params")}) == len(mlflow.of("params")) > 0
    assert json.loads((tmp_path / "trackers.json").read_text()) == {"mlflow": "r-1"}
    assert len(mlflow.of("end")) == 2


def test_what_a_tracker_refuses_is_a_message(mlflow: Package, tmp_path: Path, recipe_of: Callable[..., Recipe]) -> None:
    with pytest.raises(ConfigError, match=r"log.trackers: mlflow could not be started: .*no_such_option"):
        Tracker(MLflowOptions(options={"no_such_option": 1}), recipe_of(tmp_path), tmp_path)
    assert not (tmp_path / "trackers.json").exists()


@pytest.mark.parametrize("kind", ALL)
def test_a_package_that_is_missing_is_named(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    log = validate(LogOptions, {"trackers": [kind]}, "recipe")
    assert isinstance(log, LogOptions)
    with pytest.raises(ConfigError, match=f"log.trackers: {kind} needs .* pip install {kind}"):
        require_packages(log.trackers)


@pytest.mark.parametrize("kind", ALL)
def test_every_tracker_is_one_of_accelerates(kind: str) -> None:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    assert kind in LOGGER_TYPE_TO_CLASS


def test_a_recipe_becomes_scalars_by_dotted_key() -> None:
    assert flattened({"a": {"b": 1, "c": {}}, "d": [1, 2], "e": None, "f": True}) == {
        "a.b": 1,
        "a.c": "{}",
        "d": "[1, 2]",
        "e": "null",
        "f": True,
    }
