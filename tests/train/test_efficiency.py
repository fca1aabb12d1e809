from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from train.efficiency import Efficiency
from train.plan.flops import step_flops
from train.recipe import Recipe
from train.run import efficiency_of
from train.world import World


def world_of(device: str) -> World:
    return cast(World, SimpleNamespace(device=torch.device(device), size=16))


def test_utilisation_is_over_the_peak_of_all_devices() -> None:
    assert Efficiency(6e15, "some GPU", 1e15, 4).row(2.0) == {"model_flops_per_s": 3e15, "mfu": 0.75}


def test_what_is_not_known_is_not_guessed() -> None:
    assert Efficiency(6e15).row(2.0) == {"model_flops_per_s": 3e15, "mfu": None}
    assert Efficiency().row(2.0) == {"model_flops_per_s": None, "mfu": None}


def test_a_known_gpu_gets_the_flops_of_the_recipe_and_the_peak_of_the_catalogue(
    recipe_of: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(precision="bf16")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100 80GB HBM3")
    found: Any = efficiency_of(recipe, world_of("cuda:0"))
    assert found == Efficiency(step_flops(recipe), "NVIDIA H100 80GB HBM3", 989e12, 16)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100 80GB HBM3 MIG 1g.10gb")
    assert efficiency_of(recipe, world_of("cuda:0")).row(1.0) == {"model_flops_per_s": None, "mfu": None}


def test_on_a_cpu_nothing_is_counted(recipe_of: Callable[..., Recipe]) -> None:
    assert efficiency_of(recipe_of(), world_of("cpu")) == Efficiency(num_devices=16)
