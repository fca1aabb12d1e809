from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from configs.errors import ConfigError
from model.initialisation import initial_value_of
from model.surgery.lora import AdaptedLinear, adapted, merge, merged_weights, unmerge
from model.surgery.options import LoRAOptions

Make = Callable[..., Any]
TOKENS = torch.arange(18).view(2, 9) % 23
LORA = {"kind": "lora", "select": "transformer.blocks.*.mixer.[qv]*", "rank": 3, "alpha": 6.0}


@pytest.fixture
def trained(whole_of: Make, operate: Make) -> Any:
    """A model whose adapters are far from zero."""
    whole = whole_of(bias=True)
    operate(whole, LORA)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _, layer in adapted(whole):
            layer.lora.down.weight.normal_(generator=generator)
            layer.lora.up.weight.normal_(generator=generator)
    return whole


def test_an_adapted_layer_is_the_layer_and_a_low_rank_change(trained: Any) -> None:
    layers = dict(adapted(trained))
    assert list(layers) == [
        f"transformer.blocks.{block}.mixer.{part}" for block in (0, 1) for part in ("query", "value")
    ]
    layer = layers["transformer.blocks.0.mixer.query"]
    x = torch.randn(5, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrix = layer.weight + 2.0 * layer.lora.up.weight @ layer.lora.down.weight
    torch.testing.assert_close(layer(x), x @ matrix.T + layer.bias, rtol=1e-12, atol=1e-12)


def test_the_names_of_the_plain_model_stay(whole_of: Make, operate: Make) -> None:
    whole = whole_of(bias=True)
    before = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    operate(whole, LORA)
    after = whole.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert {name.partition(".lora.")[2] for name in after.keys() - before.keys()} == {"down.weight", "up.weight"}


def test_only_the_layers_themselves_are_frozen(whole_of: Make, operate: Make) -> None:
    whole = whole_of(bias=True)
    operate(whole, LORA)
    frozen = {name for name, item in whole.named_parameters() if not item.requires_grad}
    layers = [name for name, _ in adapted(whole)]
    assert frozen == {f"{name}.{leaf}" for name in layers for leaf in ("weight", "bias")}


def test_training_starts_from_the_layer_as_it_was(whole_of: Make, operate: Make) -> None:
    whole = whole_of()
    before = whole.transformer(TOKENS).x
    operate(whole, LORA)
    options = whole.transformer.options
    with torch.no_grad():
        for name, item in whole.named_parameters():
            if ".lora." in name:
                item.copy_(initial_value_of(whole, name, item.shape, 3, options))
    assert torch.equal(whole.transformer(TOKENS).x, before)
    name = "transformer.blocks.0.mixer.query.lora.down.weight"
    wide = initial_value_of(whole, name, (300, 400), 3, options)
    assert float(wide.abs().max()) == pytest.approx(1 / math.sqrt(400), rel=1e-3)
    assert float(wide.std()) == pytest.approx(1 / math.sqrt(400 * 3), rel=0.01)


def test_merging_changes_nothing_but_the_cost_and_is_undone_to_the_bit(trained: Any) -> None:
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    apart = trained.transformer(TOKENS).x
    merge(trained)
    merge(trained)  # twice is once
    assert all(layer.is_merged for _, layer in adapted(trained))
    together = trained.transformer(TOKENS).x
    assert not torch.equal(
        trained.state_dict()["transformer.blocks.0.mixer.query.weight"],
        before["transformer.blocks.0.mixer.query.weight"],
    )
    torch.testing.assert_close(together, apart, rtol=1e-12, atol=1e-12)
    unmerge(trained)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.state_dict().items())
    assert torch.equal(trained.transformer(TOKENS).x, apart)


def test_merged_weights_are_a_plain_model_that_computes_the_same(trained: Any, whole_of: Make) -> None:
    plain = whole_of(bias=True)
    plain.load_state_dict(merged_weights(trained.state_dict(), trained))
    torch.testing.assert_close(plain.transformer(TOKENS).x, trained.transformer(TOKENS).x, rtol=1e-12, atol=1e-12)
    weights = plain.state_dict()
    again = merged_weights(weights, plain)
    assert all(again[name] is tensor for name, tensor in weights.items())


def test_dropout_acts_on_the_change_alone() -> None:
    base = nn.Linear(4, 4)
    layer = AdaptedLinear(base, LoRAOptions.model_validate({"select": "x", "rank": 2, "alpha": 1.0, "dropout": 0.5}))
    nn.init.normal_(layer.lora.up.weight)
    x = torch.ones(1, 4)
    torch.manual_seed(0)
    draws = {tuple(layer(x).flatten().tolist()) for _ in range(20)}
    assert len(draws) > 1
    assert torch.equal(layer.eval()(x), layer(x))
    with torch.no_grad():
        layer.lora.up.weight.zero_()
    assert torch.equal(layer.train()(x), base(x))


def test_only_linear_layers_can_be_selected(whole_of: Make, operate: Make) -> None:
    with pytest.raises(ConfigError, match=r"surgery\[0\].select: 'transformer.norm' matches nothing"):
        operate(whole_of(), LORA | {"select": "transformer.norm"})


def test_adapters_are_not_adapted_again(whole_of: Make, operate: Make) -> None:
    whole = whole_of()
    operate(whole, LORA, LORA | {"select": "**.mixer.**"})
    names = [name for name, _ in adapted(whole)]
    assert len(names) == len(set(names)) == 8
    assert not any(".lora." in name for name in names)


@pytest.mark.parametrize(
    ("select", "name", "kind"),
    [
        ("head.output", "head.output", "OutputMatrix"),
        ("head.**", "head.output", "OutputMatrix"),
        ("transformer.embedder.tokens", "transformer.embedder.tokens", "TokenEmbedding"),
        (["transformer.blocks.*.mixer.query", "**.tokens"], "transformer.embedder.tokens", "TokenEmbedding"),
    ],
    ids=["output", "head", "tokens", "beside-others"],
)
def test_output_matrices_and_tables_of_tokens_are_refused(
    select: str | list[str], name: str, kind: str, whole_of: Make, operate: Make
) -> None:
    with pytest.raises(ConfigError, match=rf"surgery\[0\]\.select: .* selects {name}, which is {kind}\. Adapters are"):
        operate(whole_of(), LORA | {"select": select})


def test_a_layer_gets_adapters_once(whole_of: Make, operate: Make) -> None:
    with pytest.raises(ConfigError, match=r"surgery\[1\]\.select: .*mixer\.query, which is AdaptedLinear"):
        operate(whole_of(), LORA, LORA)


def test_patterns_that_reach_further_take_the_linear_layers_alone(whole_of: Make, operate: Make) -> None:
    whole = whole_of()
    operate(whole, LORA | {"select": ["**", "!**.feed_forward.*"]})
    leaves = {name.rpartition(".")[2] for name, _ in adapted(whole)}
    assert leaves == {"query", "key", "value", "output"}
    assert all(".mixer." in name for name, _ in adapted(whole))
