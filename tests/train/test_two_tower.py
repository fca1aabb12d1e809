"""Two towers in a recipe: checked, counted and given initial weights as other models are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
import torch
import yaml
from torch import Tensor
from torch.nn.functional import cross_entropy

from configs.options import Part, construct
from data.loader import Batch
from launch.cli import main
from model.options import TwoTowerOptions
from model.two_tower import TwoTower
from tests.train.test_check import pack
from train.objectives.objective import Objective, build_objective
from train.recipe import load_recipe

SIDE: dict[str, Any] = {"dim": 8, "num_layers": 1, "mixer": {"num_heads": 2}, "positions": "learned", "norm": "layer"}
MODEL: dict[str, Any] = {
    "kind": "two_tower",
    "image": SIDE | {"embedder": {"kind": "patches", "image_size": 8, "patch_size": 4}, "visibility": "bidirectional"},
    "text": SIDE | {"embedder": {"vocab_size": 19, "max_length": 8}, "dim": 12},
    "width": 6,
    "logit_scale": 1.5,
}


class Matching(Objective):
    """Which text belongs to which image (Radford et al. 2021, figure 3); the loss of images alone."""

    class Options(Part):
        kind: str

    fields: ClassVar[tuple[str, ...]] = ("images", "tokens")

    def __init__(self, options: Options, model: TwoTowerOptions) -> None:
        super().__init__()
        self.towers = cast(TwoTower, construct(model))

    def num_targets(self, batch: Batch) -> int:
        return len(batch["images"])

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.towers(batch["images"], batch["tokens"])
        return {"loss": cross_entropy(logits, torch.arange(len(logits)), reduction="sum")}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    pack(tmp_path / "train.tar", [10, 12])
    tree = {
        "run": str(tmp_path / "run"),
        "train": {"steps": 2},
        "batch": {"global": 2},
        "data": {"train": {"kind": "token_windows", "shards": str(tmp_path / "train.tar"), "length": 6}},
        "model": MODEL,
        "objective": {"kind": "tests.train.test_two_tower:Matching"},
        "optimizer": {"kind": "adamw", "lr": 0.01},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(tree))
    return tmp_path / "recipe.yaml"


def test_a_recipe_with_two_towers_is_checked(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(recipe), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["recipe"]["model"]["kind"] == "two_tower"
    module = cast(TwoTower, construct(TwoTowerOptions.model_validate(MODEL)))
    assert facts["parameters"] == sum(parameter.numel() for parameter in module.parameters())


def test_initial_weights_are_those_of_each_tower_and_the_given_scale(recipe: Path) -> None:
    loaded = load_recipe(recipe, ["model.text.init.std=0.5"])
    objective = build_objective(loaded.objective, loaded.model)
    values = {
        name: objective.initial_value(name, parameter.shape, 0) for name, parameter in objective.named_parameters()
    }
    assert all(values[name].shape == parameter.shape for name, parameter in objective.named_parameters())
    assert values["towers.scale.weight"].item() == 1.5
    spread = {name: float(values[f"towers.{name}.blocks.0.mixer.query.weight"].std()) for name in ("image", "text")}
    assert spread["image"] == pytest.approx(0.02, rel=0.3)
    assert spread["text"] == pytest.approx(0.5, rel=0.3)
    objective.load_state_dict(values)
    batch = {"images": torch.randn(3, 3, 8, 8), "tokens": torch.randint(0, 19, (3, 7))}
    objective(batch)["loss"].backward()
    assert all(parameter.grad is not None for parameter in objective.parameters())


def test_texts_longer_than_their_tower_reads_and_other_objectives_are_refused(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for override, expected in (
        ("data.train.length=9", "is longer than model.text.embedder.max_length=8"),
        ("objective={kind: causal_lm}", "objective causal_lm: trains one transformer; model.kind is two_tower"),
        ("model.wdith=3", "did you mean 'width'"),
    ):
        assert main(["check", str(recipe), override]) == 2
        assert expected in capsys.readouterr().err
