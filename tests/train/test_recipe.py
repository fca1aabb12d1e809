from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import ConfigError
from configs.recipe import merge
from train.recipe import Recipe, differences, load_recipe, recipe_of_run

RecipeOf = Callable[..., Recipe]

QUICKSTART = "configs/quickstart.yaml"
VALIDATION = {"kind": "token_windows", "shards": "v.tar", "length": 6}


def test_the_quickstart_recipe_is_valid_and_says_what_it_says() -> None:
    recipe = load_recipe(QUICKSTART, ["train.steps=7", "engine.zero=3"])
    assert (recipe.train.steps, recipe.engine.kind, recipe.model.dim) == (7, "deepspeed", 192)
    assert recipe.engine.zero == 3  # type: ignore[union-attr]


def test_defaults_are_one_process_in_float32_on_the_causal_objective(recipe_of: RecipeOf) -> None:
    recipe = recipe_of()
    assert (recipe.engine.kind, recipe.precision, recipe.objective.kind) == ("accelerate", "float32", "causal_lm")


IDENTITY = [
    {"seed": 1},
    {"batch": {"global": 4}},
    {"model": {"dim": 16}},
    {"model": {"documents": "joined"}},
    {"objective": {"kind": "causal_lm", "tied_head": False}},
    {"optimizer": {"lr": 0.5}},
    {"optimizer": {"schedule": {"kind": "cosine"}}},
]
FREE = [
    {"run": "runs/other"},
    {"precision": "bf16"},
    {"train": {"steps": 99}},
    {"batch": {"micro": 2}},
    {"data": {"train": {"shards": "moved.tar"}}},
    {"data": {"workers": 3}},
    {"engine": {"kind": "deepspeed", "zero": 3}},
    {"checkpoint": {"every": 5}},
    {"log": {"every": 5, "tensorboard": False}},
    {"model": {"backend": "reference"}},
    {"train": {"time_limit_s": 60.0}},
    {"data": {"validation": VALIDATION}, "probes": {"v": {"kind": "loss"}}},
]


@pytest.mark.parametrize("change", IDENTITY, ids=str)
def test_what_decides_the_result_belongs_to_the_identity_of_a_run(recipe_of: RecipeOf, change: dict[str, Any]) -> None:
    assert recipe_of(**change).identity() != recipe_of().identity()


@pytest.mark.parametrize("change", FREE, ids=str)
def test_what_may_change_when_a_run_goes_on_does_not(recipe_of: RecipeOf, change: dict[str, Any]) -> None:
    assert recipe_of(**change) != recipe_of()
    assert recipe_of(**change).identity() == recipe_of().identity()


def test_sequences_longer_than_the_model_are_refused(recipe_of: RecipeOf) -> None:
    assert recipe_of(data={"train": {"length": 8}}).data.train.length == 8
    with pytest.raises(ConfigError, match=r"data.train.length=9 is longer than model.embedder.max_length=8"):
        recipe_of(data={"train": {"length": 9}})


@pytest.mark.parametrize(
    ("kind", "needs", "provided"),
    [("loss", "data.validation", {"validation": VALIDATION}), ("sample", "data.tokenizer", {"tokenizer": "t.json"})],
)
def test_a_probe_without_the_data_it_needs_is_refused(
    recipe_of: RecipeOf, kind: str, needs: str, provided: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=rf"probes.mine .*{needs}.*; add it|needs {needs}; add it"):
        recipe_of(probes={"mine": {"kind": kind}})
    assert recipe_of(probes={"mine": {"kind": kind}}, data=provided).probes["mine"].kind == kind


def test_every_problem_is_reported_at_once_with_its_key(recipe_of: RecipeOf) -> None:
    with pytest.raises(ConfigError) as error:
        recipe_of(train={"step": 5}, batch={"global": 0}, optimizer={"lr": -1.0}, engin={"kind": "accelerate"})
    message = str(error.value)
    assert message.startswith("tiny: 4 problems\n")
    for part in ("train.step: unknown key; did you mean 'steps'?", "batch.global: ", "optimizer.lr: ", "engin: "):
        assert part in message
    assert "did you mean 'engine'?" in message


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ({"kind": "deepspeed", "zero": 4}, "engine.zero"),
        ({"kind": "deepspeed", "offload": "all"}, "needs zero=3, found zero=2"),
        ({"kind": "deepspeed", "zero": 0, "offload": "optimizer"}, "zero=1, 2 or 3, found zero=0"),
        ({"kind": "deepspeed", "config": {"bf16": {}}}, "config.bf16 is decided by the key precision of the recipe"),
        ({"kind": "deepspeed", "config": {"zero_optimization": {"stage": 1}}}, "is decided by engine.zero"),
        ({"kind": "accelerate", "zero": 1}, "engine.zero: unknown key"),
        ({"kind": "acelerate"}, "did you mean 'accelerate'?"),
    ],
    ids=str,
)
def test_impossible_engines_are_refused(recipe_of: RecipeOf, engine: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        recipe_of(engine=engine)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("every", "before", "due"),
    [
        (None, False, [10]),
        (None, True, [0, 10]),
        (4, False, [4, 8, 10]),
        (4, True, [0, 4, 8, 10]),
        (5, False, [5, 10]),
    ],
)
def test_probes_are_due_where_asked_and_at_the_end(
    recipe_of: RecipeOf, every: int | None, before: bool, due: list[int]
) -> None:
    options = {"kind": "loss", "every": every, "before": before}
    probe = recipe_of(probes={"v": options}, data={"validation": VALIDATION}).probes["v"]
    assert [step for step in range(11) if probe.is_due(step, 10)] == due


def test_differences_name_key_and_both_values() -> None:
    ours = {"seed": 1, "model": {"dim": 8, "bias": True}, "same": [1]}
    theirs = {"seed": 2, "model": {"dim": 16}, "same": [1]}
    assert differences(ours, theirs) == [
        "model.bias: None there, True here",
        "model.dim: 16 there, 8 here",
        "seed: 2 there, 1 here",
    ]
    assert differences(ours, ours) == []


def folder_with(recipe: Recipe, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(recipe.yaml())
    return folder


def test_the_written_recipe_has_every_default_and_reads_back_as_itself(recipe_of: RecipeOf, tmp_path: Path) -> None:
    recipe = recipe_of(optimizer={"lr": 1e-7, "schedule": {"kind": "wsd", "decay": 3}})
    assert yaml.safe_load(recipe.yaml())["checkpoint"] == {"every": 1000, "keep_last": 3}
    assert recipe_of_run(folder_with(recipe, tmp_path)) == recipe


@settings(deadline=None, max_examples=60)
@given(text=st.text() | st.sampled_from(["1e-3", "${seed}", "${oc.env:HOME}", "yes", "0x1f", "???", "null", "\\${a}"]))
def test_whatever_a_recipe_says_a_run_reads_back_its_own(
    recipe_of: RecipeOf, tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    # A prompt is free text; none may keep a run from going on.
    recipe = recipe_of(probes={"s": {"kind": "sample", "prompt": text}}, data={"tokenizer": "t.json"})
    folder = folder_with(recipe, tmp_path_factory.getbasetemp() / "prompts")
    assert recipe_of_run(folder) == recipe


def test_a_folder_without_a_recipe_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not a run folder: it has no config.yaml"):
        recipe_of_run(tmp_path)


@pytest.mark.parametrize("content", ["", "a: [", "- 1", "run: x\n", "\x00"])
def test_a_damaged_recipe_of_a_run_is_a_user_error_that_names_the_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        recipe_of_run(tmp_path)


def test_recipes_are_checked_without_torch() -> None:
    check = f"from train.recipe import load_recipe; load_recipe({QUICKSTART!r})"
    code = f"import sys; {check}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_overrides_merge_over_the_recipe(recipe_of: RecipeOf) -> None:
    tree = merge(recipe_of().tree(), {"train": {"steps": 3}})
    assert Recipe.model_validate(tree) == recipe_of(train={"steps": 3})
