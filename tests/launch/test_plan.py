"""`polytrain plan`, as a person types it; no shards are there."""

from __future__ import annotations

import json

import pytest

from launch.cli import main
from train.plan.flops import flops_of
from train.recipe import load_recipe

SMALL = ["model.dim=64", "model.num_layers=2", "model.mixer.num_heads=2", "model.embedder.vocab_size=512"]
RECIPE = ["configs/quickstart.yaml", *SMALL, "data.train.shards=nowhere/*.tar"]


def _plan(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    overrides = [item for item in arguments if "=" in item]
    flags = [item for item in arguments if "=" not in item]
    code = main(["plan", *RECIPE, *overrides, "--gpu", "a100-80gb", *flags])
    return code, *capsys.readouterr()


def test_the_recommendation_is_a_recipe_that_loads(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _plan(capsys, "--explain")
    assert code == 0
    line = next(line for line in out.splitlines() if line.startswith("recommended: "))
    recipe = load_recipe(RECIPE[0], [*RECIPE[1:], *line.removeprefix("recommended: ").split()])
    assert 16 % (8 * (recipe.batch.micro or 1)) == 0
    flops = flops_of(load_recipe(RECIPE[0], RECIPE[1:]))
    assert f"{flops.constant:.4g} + {flops.per_length:.4g} x T" in out
    assert "NVIDIA A100 data sheet" in out


def test_json_has_every_layout_and_a_token_budget_scales_the_days(capsys: pytest.CaptureFixture[str]) -> None:
    days = []
    for tokens in ("1e9", "4e9"):
        _, out, _ = _plan(capsys, "--json", "--tokens", tokens)
        tree = json.loads(out)
        assert len(tree["candidates"]) == 16
        days.append(float(tree["facts"]["days"].split()[0]))
    assert days[1] / days[0] == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpu", "h1000"], "did you mean 'h100'"),
        (["--nodes", "3"], "batch.global=16 cannot be divided among 24 GPUs"),
        (["--nodes", "0"], "--nodes 0: expected more than 0"),
        (["--gpu", "v100", "precision=bf16"], "has no bf16 arithmetic"),
        (["--gpu", "v100", "precision=int8"], "has no bf16 arithmetic"),
        (["--operators", "model.norm_place=post"], "--operators: the block has norm_place: post"),
        (["--network", "tin-can"], "--network tin-can"),
    ],
)
def test_errors_say_what_to_do(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = _plan(capsys, *arguments)
    assert code == 2
    assert message in error
    assert "Traceback" not in error
