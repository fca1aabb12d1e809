from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from configs.errors import ConfigError
from model.parameters import shape_of
from train.objectives.causal_lm import CausalLM
from train.optimizer import (
    MOMENTS,
    build_adamw,
    create_state,
    numel_of,
    parameter_groups,
    set_learning_rate,
)
from train.options import AdamWOptions

OPTIONS = AdamWOptions(lr=1.0, beta1=0.8, beta2=0.9, eps=1e-3, weight_decay=0.2)


def test_matrices_are_decayed_and_vectors_are_not(objective_of: Callable[..., CausalLM]) -> None:
    objective = objective_of(norm="layer", bias=True, positions="learned", tied_head=False)
    matrices, vectors = parameter_groups(objective, OPTIONS)
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.2, 0.0)
    assert {item.dim() for item in matrices["params"]} == {2}
    assert {item.dim() for item in vectors["params"]} == {1}
    grouped = {id(item) for item in [*matrices["params"], *vectors["params"]]}
    assert grouped == {id(item) for item in objective.parameters()}


def test_a_tied_weight_is_updated_once(objective_of: Callable[..., CausalLM]) -> None:
    objective = objective_of(tied_head=True)
    members = [item for group in parameter_groups(objective, OPTIONS) for item in group["params"]]
    assert sum(item is objective.transformer.embedder.tokens.weight for item in members) == 1


def test_frozen_parameters_and_empty_groups_are_left_out() -> None:
    module = nn.Linear(3, 2)
    module.bias.requires_grad_(False)
    (group,) = parameter_groups(module, OPTIONS)
    assert group["params"] == [module.weight]


def written_out(weight: Tensor, gradients: list[Tensor], lrs: list[float], decay: float) -> Tensor:
    """Algorithm 2 of Loshchilov and Hutter 2019."""
    first = second = torch.zeros_like(weight)
    for step, (gradient, lr) in enumerate(zip(gradients, lrs, strict=True), start=1):
        first = 0.8 * first + 0.2 * gradient
        second = 0.9 * second + 0.1 * gradient**2
        unbiased = (first / (1 - 0.8**step), second / (1 - 0.9**step))
        weight = weight - lr * decay * weight - lr * unbiased[0] / (unbiased[1].sqrt() + 1e-3)
    return weight


def test_steps_equal_adamw_written_out() -> None:
    generator = torch.Generator().manual_seed(0)
    module = nn.Linear(3, 2, dtype=torch.float64)
    before = [item.detach().clone() for item in (module.weight, module.bias)]
    gradients = [[torch.randn(item.shape, dtype=item.dtype, generator=generator) for item in before] for _ in range(4)]
    lrs = [0.1, 0.3, 0.0, 0.2]
    optimizer = build_adamw(parameter_groups(module, OPTIONS), OPTIONS)
    for (module.weight.grad, module.bias.grad), lr in zip(gradients, lrs, strict=True):
        set_learning_rate(optimizer, lr)
        optimizer.step()
    for found, start, number, decay in [(module.weight, before[0], 0, 0.2), (module.bias, before[1], 1, 0.0)]:
        expected = written_out(start, [pair[number] for pair in gradients], lrs, decay)
        torch.testing.assert_close(found.detach(), expected, rtol=1e-10, atol=1e-12)


def test_until_a_learning_rate_is_set_nothing_moves() -> None:
    module = nn.Linear(3, 2)
    before = module.weight.detach().clone()
    optimizer = build_adamw(parameter_groups(module, OPTIONS), OPTIONS)
    module.weight.grad, module.bias.grad = torch.ones(2, 3), torch.ones(2)
    optimizer.step()
    assert torch.equal(module.weight, before)
    set_learning_rate(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]


@pytest.mark.parametrize("cut", [1, 3])
def test_created_state_filled_with_old_moments_goes_on_exactly(cut: int) -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(5, generator=generator) for _ in range(5)]

    def advance(weight: nn.Parameter, optimizer: torch.optim.Optimizer, part: list[Tensor]) -> None:
        for gradient in part:
            weight.grad = gradient
            optimizer.step()

    def fresh(value: Tensor) -> tuple[nn.Parameter, torch.optim.Optimizer]:
        weight = nn.Parameter(value.clone())
        optimizer = build_adamw([{"params": [weight], "weight_decay": 0.1}], OPTIONS)
        set_learning_rate(optimizer, 0.1)
        return weight, optimizer

    straight, optimizer = fresh(torch.ones(5))
    advance(straight, optimizer, gradients[:cut])
    resumed, other = fresh(straight.detach())
    state = create_state(other, resumed, cut)
    for name in MOMENTS:
        assert not state[name].any()
        state[name].copy_(optimizer.state[straight][name])
    advance(straight, optimizer, gradients[cut:])
    advance(resumed, other, gradients[cut:])
    assert torch.equal(straight, resumed)


def test_sizes_are_those_before_sharding() -> None:
    parameter = torch.empty(0)
    assert (shape_of(parameter), numel_of(parameter)) == ((0,), 0)
    parameter.ds_shape = torch.Size((4, 6))  # type: ignore[attr-defined]
    assert (shape_of(parameter), numel_of(parameter)) == ((4, 6), math.prod((4, 6)))


def described(module: nn.Module, options: AdamWOptions) -> dict[str, tuple[float, float]]:
    """Name -> (factor of the learning rate, weight decay), of all parameters, each in one group."""
    names = {id(item): name for name, item in module.named_parameters()}
    pairs = [
        (names[id(item)], (group["lr_factor"], group["weight_decay"]))
        for group in parameter_groups(module, options)
        for item in group["params"]
    ]
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


def test_groups_change_what_they_select(objective_of: Callable[..., CausalLM]) -> None:
    groups = [
        {"select": "**@embedding", "lr": 0.5, "weight_decay": 0.0},
        {"select": ["**.mixer.**", "!**.output.*"], "lr": 2.0},
        {"select": "**.query.weight", "lr": 3.0, "weight_decay": 0.7},
    ]
    options = AdamWOptions.model_validate(OPTIONS.tree() | {"groups": groups})
    assert described(objective_of(), options) == {
        "transformer.embedder.tokens.weight": (0.5, 0.0),
        "transformer.blocks.0.mixer.query.weight": (6.0, 0.7),
        "transformer.blocks.0.mixer.key.weight": (2.0, 0.2),
        "transformer.blocks.0.mixer.value.weight": (2.0, 0.2),
        "transformer.blocks.0.mixer.output.weight": (1.0, 0.2),
        "transformer.blocks.0.mixer_branch.norm.weight": (1.0, 0.0),
        "transformer.blocks.0.feed_forward.gate.weight": (1.0, 0.2),
        "transformer.blocks.0.feed_forward.up.weight": (1.0, 0.2),
        "transformer.blocks.0.feed_forward.down.weight": (1.0, 0.2),
        "transformer.blocks.0.feed_forward_branch.norm.weight": (1.0, 0.0),
        "transformer.norm.weight": (1.0, 0.0),
    }


def test_the_rate_falls_layer_by_layer_from_the_output(objective_of: Callable[..., CausalLM]) -> None:
    objective = objective_of(num_layers=3, positions="learned", tied_head=False)
    options = AdamWOptions.model_validate(OPTIONS.tree() | {"lr_decay_per_layer": 0.5})
    factors = {name: factor for name, (factor, _) in described(objective, options).items()}
    # Layers of the schedule of BEiT (Bao et al. 2022): 0 the embedding, 1 ... L the blocks, L + 1 the head.
    for name, factor in factors.items():
        layer = 4
        if "embed" in name:
            layer = 0
        elif ".blocks." in name:
            layer = int(name.split(".")[2]) + 1
        assert factor == 0.5 ** (4 - layer), name
    assert set(factors.values()) == {1.0, 0.5, 0.25, 0.125, 0.0625}


def test_a_group_without_parameters_is_refused(objective_of: Callable[..., CausalLM]) -> None:
    options = AdamWOptions.model_validate(OPTIONS.tree() | {"groups": [{"select": "**.mixr.**"}]})
    with pytest.raises(ConfigError, match=r"optimizer.groups\[0\].select: '\*\*.mixr.\*\*' matches nothing"):
        parameter_groups(objective_of(), options)


def test_the_learning_rate_of_a_group_is_its_share_of_the_base() -> None:
    first, second = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    groups = [{"params": [first], "lr_factor": 0.5}, {"params": [second]}]
    optimizer = build_adamw(groups, OPTIONS)
    set_learning_rate(optimizer, 0.2)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.2]
