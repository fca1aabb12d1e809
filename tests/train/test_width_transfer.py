"""muP: what is learned in a step does not depend on the width (a coordinate check, Yang et al. 2022, figure 5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from configs.errors import ConfigError
from model.options import TransformerOptions
from train.export import with_plain_head
from train.objectives.causal_lm import CausalLM
from train.objectives.objective import build_objective
from train.objectives.options import CausalLMOptions, PFNOptions
from train.optimizer import build_adamw, parameter_groups, set_learning_rate
from train.options import AdamWOptions
from train.recipe import Recipe

BASE, WIDTHS = 32, (32, 128, 512)
BATCH = torch.randint(0, 64, (4, 33), generator=torch.Generator().manual_seed(0))
TIED = pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])


def objective_of(dim: int, tied: bool, base_dim: int | None) -> CausalLM:
    model = TransformerOptions.model_validate(
        {
            "embedder": {"vocab_size": 64, "max_length": 32},
            "dim": dim,
            "num_layers": 2,
            "mixer": {"num_heads": dim // 16},
            "init": {"base_dim": base_dim},
        }
    )
    objective = build_objective(CausalLMOptions(tied_head=tied), model)
    with torch.no_grad():
        for name, parameter in objective.named_parameters():
            parameter.copy_(objective.initial_value(name, parameter.shape, 0))
    assert isinstance(objective, CausalLM)
    return objective


def changes(dim: int, tied: bool, base_dim: int | None) -> dict[str, float]:
    """Root mean squares of how hidden states before the final norm, and logits, have changed in four steps."""
    objective = objective_of(dim, tied, base_dim)
    seen: dict[str, Tensor] = {}
    objective.transformer.norm.register_forward_pre_hook(lambda _, inputs: seen.update(hidden=inputs[0].detach()))

    def look() -> dict[str, Tensor]:
        with torch.no_grad():
            return {"logits": objective.logits(BATCH[:, :-1]), "hidden": seen["hidden"]}

    options = AdamWOptions(lr=0.01)
    optimizer = build_adamw(parameter_groups(objective, options), options)
    before = look()
    for _ in range(4):
        set_learning_rate(optimizer, options.lr)
        optimizer.zero_grad()
        objective({"tokens": BATCH, "segments": torch.zeros_like(BATCH)})["loss"].div(BATCH.numel()).backward()
        optimizer.step()
    after = look()
    return {name: float((after[name] - before[name]).square().mean().sqrt()) for name in before}


@TIED
def test_steps_change_wide_models_as_much_as_narrow_ones(tied: bool) -> None:
    found = [changes(dim, tied, BASE) for dim in WIDTHS]
    for name in ("hidden", "logits"):
        values = [each[name] for each in found]
        assert max(values) < 1.6 * min(values), (name, values)
    plain = [changes(dim, tied, None) for dim in WIDTHS]
    # Without it the wide models move several times further, which is what makes their best learning rate another.
    assert plain[-1]["logits"] > 3 * plain[0]["logits"]


@TIED
def test_at_the_base_width_nothing_changes(tied: bool) -> None:
    assert changes(BASE, tied, BASE) == changes(BASE, tied, None)


def test_learning_rate_and_decay_of_matrices_in_blocks_follow_the_width() -> None:
    objective = objective_of(128, False, BASE)
    groups = parameter_groups(objective, AdamWOptions(lr=1.0, weight_decay=0.2))
    found = {id(item): (group["lr_factor"], group["weight_decay"]) for group in groups for item in group["params"]}
    of = {name: found[id(item)] for name, item in objective.named_parameters()}
    assert of["transformer.blocks.1.mixer.query.weight"] == (0.25, 0.8)
    assert of["transformer.blocks.1.mixer_branch.norm.weight"] == (1.0, 0.0)
    assert of["transformer.embedder.tokens.weight"] == of["head.output.weight"] == (1.0, 0.2)


def test_objectives_whose_heads_do_not_follow_refuse_it(recipe_of: Callable[..., Recipe]) -> None:
    changes: dict[str, Any] = {
        "embedder": {"kind": "table_rows", "max_features": 3, "max_classes": 2},
        "positions": "none",
        "visibility": "context",
        "init": {"base_dim": 4},
    }
    with pytest.raises(ConfigError, match=r"model\.init\.base_dim: .* objective pfn"):
        build_objective(PFNOptions(), recipe_of(objective={"kind": "pfn"}, model=changes).model)


@TIED
def test_an_exported_model_needs_no_factor(tied: bool, recipe_of: Callable[..., Recipe]) -> None:
    wide, plain = objective_of(128, tied, BASE), objective_of(128, tied, None)
    recipe = recipe_of(model={"dim": 128, "init": {"base_dim": BASE}})
    plain.load_state_dict(with_plain_head(dict(wide.state_dict()), recipe))
    torch.testing.assert_close(plain.logits(BATCH), wide.logits(BATCH))
    with pytest.raises(ConfigError, match="without a final norm"):
        with_plain_head({}, recipe_of(model={"init": {"base_dim": 4}, "norm_place": "post"}))
