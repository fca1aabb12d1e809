"""Surgery under every engine: what is frozen stays, what is added learns, and a run goes on exactly."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import save_file
from torch import Tensor

from configs.errors import ConfigError
from model.parameters import kinds_of
from model.surgery.options import AnyEdit
from tests.train.test_engines import ENGINES, BatchOf, RequestOf, State, build, require_close, start_afresh, train
from train.checkpoint import About, Checkpoint, Checkpoints, Position
from train.engines.engine import Engine, EngineRequest
from train.export import export
from train.objectives.objective import Objective, build_objective
from train.objectives.options import CausalLMOptions
from train.options import AdamWOptions
from train.recipe import Recipe
from train.run_folder import RunFolder
from train.state import WEIGHT
from train.weights import open_weights
from train.world import World

EDITS: list[AnyEdit] = TypeAdapter(list[AnyEdit]).validate_python(
    [
        {"kind": "freeze", "select": ["**", "!@norm"]},
        {"kind": "lora", "select": "**.mixer.[qv]*", "rank": 2, "alpha": 8.0},
        {"kind": "prompts", "length": 2},
    ]
)
OPTIMIZER = AdamWOptions.model_validate(
    {
        "lr": 0.01,
        "eps": 1e-3,
        "groups": [{"select": "**.lora.up.*", "lr": 4.0}, {"select": "**.prompts.**", "weight_decay": 0.0}],
    }
)


@pytest.fixture(autouse=True)
def _environment(process_group: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("RANK", "LOCAL_RANK", "DS_ACCELERATOR", "TORCH_EXTENSIONS_DIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    yield
    start_afresh()
    assert "RANK" not in os.environ


@pytest.fixture
def asked(request_of: RequestOf, recipe_of: Callable[..., Recipe]) -> EngineRequest:
    model = recipe_of().model

    def objective() -> Objective:
        return build_objective(CausalLMOptions(), model, EDITS)

    return request_of(build_objective=objective, optimizer=OPTIMIZER)


def state_of(engine: Engine) -> State:
    """Whole tensors from fragments: one process has all of each."""
    return {
        (field, fragment.name): tensor.clone()
        for fragment in engine.fragments()
        for field, tensor in fragment.fields.items()
    }


def reference(request: EngineRequest, batch_of: BatchOf, steps: range) -> tuple[State, list[float]]:
    """The same steps by hand: one group for every parameter."""
    objective = request.build_objective()
    named = dict(objective.named_parameters())
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(objective.initial_value(name, parameter.shape, 5))
    trained = {name: item for name, item in named.items() if "norm" in name or "lora" in name or "prompts" in name}
    factors = {name: 4.0 if name.endswith("lora.up.weight") else 1.0 for name in trained}
    groups = [{"params": [item], "weight_decay": 0.1 if "lora" in name else 0.0} for name, item in trained.items()]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-3)
    figures = []
    for step in steps:
        batch = batch_of(8, step)
        loss = objective(batch)["loss"]
        optimizer.zero_grad()
        (loss / objective.num_targets(batch)).backward()
        assert request.clip_norm is not None
        norm = torch.nn.utils.clip_grad_norm_(trained.values(), request.clip_norm)
        for group, factor in zip(optimizer.param_groups, factors.values(), strict=True):
            group["lr"] = factor * 0.01 / (1 + step)
        optimizer.step()
        figures += [float(loss.detach()), float(norm)]
    state = {(WEIGHT, name): item.detach().flatten() for name, item in named.items()}
    for field in ("exp_avg", "exp_avg_sq"):
        state |= {(field, name): optimizer.state[item][field].flatten() for name, item in trained.items()}
    return state, figures


@ENGINES
def test_steps_equal_adamw_over_what_is_trained_with_rates_of_its_own(
    asked: EngineRequest, batch_of: BatchOf, kind: str
) -> None:
    expected, expected_figures = reference(asked, batch_of, range(3))
    engine = build(kind, asked)
    before = state_of(engine)
    figures = train(engine, batch_of, range(3))
    assert figures == pytest.approx(expected_figures, rel=1e-5)
    found = state_of(engine)
    assert found.keys() == expected.keys()
    require_close(found, expected, 1e-5)
    for name, parameter in engine.objective.named_parameters():
        assert torch.equal(found[WEIGHT, name], before[WEIGHT, name]) == (not parameter.requires_grad), name
        assert (("exp_avg", name) in found) == parameter.requires_grad


@ENGINES
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_saved_run_goes_on_to_the_bit(
    asked: EngineRequest, batch_of: BatchOf, tmp_path: Path, kind: str, precision: str
) -> None:
    request = EngineRequest(**{**vars(asked), "precision": precision})
    first = build(kind, request)
    train(first, batch_of, range(2))
    about = About(Position(2), first.shapes, 0)
    checkpoint = Checkpoint(Checkpoints(tmp_path, World()).save(first.fragments(), about, "", keep_last=1))
    straight = train(first, batch_of, range(2, 4))
    second = build(kind, request, checkpoint)
    assert train(second, batch_of, range(2, 4)) == straight
    ours, theirs = state_of(second), state_of(first)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@ENGINES
def test_moments_are_held_only_for_what_is_trained(asked: EngineRequest, batch_of: BatchOf, kind: str) -> None:
    engine = build(kind, asked)
    train(engine, batch_of, range(1))
    trained = sum(
        torch.Size(engine.shapes[name]).numel()
        for name, item in engine.objective.named_parameters()
        if item.requires_grad
    )
    held = engine.bytes_held()
    assert 8 * trained <= held["moments"] <= 8 * trained + 4096
    assert held["master_weights"] <= 4 * trained + 4096


def weights_of(request: EngineRequest) -> dict[str, Tensor]:
    objective = request.build_objective()
    return {name: objective.initial_value(name, item.shape, 1) for name, item in objective.named_parameters()}


@ENGINES
def test_an_engine_starts_from_a_file(
    request_of: RequestOf, recipe_of: Callable[..., Recipe], tmp_path: Path, kind: str
) -> None:
    weights = weights_of(request_of(build_objective=lambda: build_objective(CausalLMOptions(), recipe_of().model)))
    save_file(weights, tmp_path / "model.safetensors")
    load: list[AnyEdit] = TypeAdapter(list[AnyEdit]).validate_python([{"kind": "load", "path": str(tmp_path)}])
    model = recipe_of().model
    request = request_of(build_objective=lambda: build_objective(CausalLMOptions(), model, load + EDITS))
    engine = build(kind, request)
    state = state_of(engine)
    assert all(torch.equal(state[WEIGHT, name], tensor.flatten()) for name, tensor in weights.items())
    assert not state[WEIGHT, "transformer.blocks.0.mixer.query.lora.up.weight"].any()


def test_a_run_folder_is_a_source_of_weights(request_of: RequestOf, batch_of: BatchOf, tmp_path: Path) -> None:
    engine = build("accelerate", request_of())
    train(engine, batch_of, range(1))
    folder = RunFolder(tmp_path)
    about = About(Position(1), engine.shapes, 0)
    Checkpoints(folder.checkpoints, World()).save(engine.fragments(), about, "", keep_last=1)
    source = open_weights(tmp_path)
    assert source.shapes == engine.shapes
    for name, parameter in engine.objective.named_parameters():
        assert torch.equal(source.read(name), parameter.detach())


def test_the_recipe_says_what_is_done_and_belongs_to_it(recipe_of: Callable[..., Recipe], tmp_path: Path) -> None:
    plain = recipe_of()
    changed = recipe_of(surgery=[{"kind": "freeze", "select": "**@norm"}])
    assert plain.identity() != changed.identity()
    assert plain.identity()["surgery"] == []
    objective = build_objective(changed.objective, changed.model, changed.surgery)
    kinds = kinds_of(objective)
    assert {name for name, item in objective.named_parameters() if not item.requires_grad} == {
        name for name, kind in kinds.items() if "norm" in kind
    }


@pytest.mark.parametrize(
    ("surgery", "message"),
    [
        ([{"kind": "melt"}], "surgery.0: unknown kind 'melt'; "),
        ([{"kind": "freeze", "select": "a..b"}], "surgery.0.select: pattern 'a..b': a level is empty"),
        (
            [{"kind": "load", "path": "x", "rename": {"a.*": "b"}}],
            r"rename 'a.\*': 'b' has another number of wildcards",
        ),
    ],
    ids=["kind", "pattern", "rename"],
)
def test_edits_that_mean_nothing_are_refused_with_the_recipe(
    recipe_of: Callable[..., Recipe], surgery: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe_of(surgery=surgery)


def test_a_model_with_prompts_is_not_exported_as_one_without(
    recipe_of: Callable[..., Recipe], request_of: RequestOf, tmp_path: Path
) -> None:
    recipe = recipe_of(surgery=[{"kind": "prompts", "length": 2}])
    engine = build(
        "accelerate",
        request_of(build_objective=lambda: build_objective(recipe.objective, recipe.model, recipe.surgery)),
    )
    folder = RunFolder(tmp_path / "run")
    Checkpoints(folder.checkpoints, World()).save(
        engine.fragments(), About(Position(0), engine.shapes, 0), "", keep_last=1
    )
    (folder.path / "config.yaml").write_text(recipe.yaml())
    with pytest.raises(ConfigError, match=r"no Hugging Face class has transformer.prompts.table.weight"):
        export(folder.path, tmp_path / "out", step=None, dtype="float32")
    assert not (tmp_path / "out").exists()
