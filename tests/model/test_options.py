from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import ConfigError
from configs.options import validate
from model.options import TransformerOptions
from model.transformer import Transformer
from train.objectives.causal_lm import CausalLM
from train.objectives.options import CausalLMOptions

OptionsOf = Callable[..., TransformerOptions]


@st.composite
def any_options(draw: st.DrawFn) -> TransformerOptions:
    kv_heads = draw(st.sampled_from([1, 2, 3]))
    num_heads = kv_heads * draw(st.sampled_from([1, 2]))
    return TransformerOptions(
        vocab_size=draw(st.integers(1, 50)),
        max_length=draw(st.integers(1, 50)),
        dim=num_heads * draw(st.sampled_from([2, 4, 10])),
        num_layers=draw(st.integers(1, 3)),
        num_heads=num_heads,
        num_kv_heads=draw(st.sampled_from([None, kv_heads])),
        head_dim=draw(st.sampled_from([None, 2, 6])),
        hidden_dim=draw(st.sampled_from([None, 1, 30])),
        feed_forward=draw(st.sampled_from(["gelu", "gelu_tanh", "swiglu"])),
        norm=draw(st.sampled_from(["layer", "rms"])),
        positions=draw(st.sampled_from(["learned", "rotary"])),
        bias=draw(st.booleans()),
    )


@settings(deadline=None, max_examples=80)
@given(options=any_options(), tied_head=st.booleans())
def test_parameters_by_formula_equal_those_of_the_built_model(options: TransformerOptions, tied_head: bool) -> None:
    objective = CausalLMOptions(tied_head=tied_head)
    with torch.device("meta"):
        model, whole = Transformer(options), CausalLM(objective, options)
    assert options.num_parameters() == sum(item.numel() for item in model.parameters())
    assert objective.num_parameters(options) == sum(item.numel() for item in whole.parameters())


def problems(**changes: object) -> str:
    tree = {"kind": "transformer", "vocab_size": 8, "max_length": 8, "dim": 12, "num_layers": 1, "num_heads": 3}
    with pytest.raises(ConfigError) as error:
        validate(TransformerOptions, tree | changes, "recipe")
    return str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 5}, "dim 12 is not a multiple of num_heads 5; change one, or set head_dim"),
        ({"num_heads": 3, "num_kv_heads": 2}, "num_heads 3 is not a multiple of num_kv_heads 2"),
        ({"head_dim": 3}, "rotary positions need an even head width, found 3"),
        ({"dim": 9}, "rotary positions need an even head width, found 3"),
        ({"head_dims": 4}, "did you mean 'head_dim'?"),
        ({"dropout": 1.0}, "dropout"),
        ({"num_layers": 0}, "num_layers"),
        ({"feed_forward": "relu"}, "feed_forward"),
    ],
)
def test_impossible_models_are_refused(changes: dict[str, object], message: str) -> None:
    assert message in problems(**changes)


def test_odd_heads_are_allowed_with_learned_positions(options_of: OptionsOf) -> None:
    assert options_of(head_dim=3, positions="learned").head_width == 3


def test_head_dim_frees_the_width_from_the_number_of_heads(options_of: OptionsOf) -> None:
    assert options_of(num_heads=5, head_dim=4).head_width == 4


def test_defaults_follow_the_other_keys(options_of: OptionsOf) -> None:
    assert options_of().kv_heads == 4
    assert options_of().head_width == 4
    assert options_of(hidden_dim=None, feed_forward="gelu").hidden_width == 64
    # 8/3 of 16 is 42.7, rounded up to a multiple of 32; 8/3 of 48 is 128 exactly.
    assert options_of(hidden_dim=None).hidden_width == 64
    assert options_of(hidden_dim=None, dim=48).hidden_width == 128


def test_options_are_free_of_torch() -> None:
    code = "import sys, model.options; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
