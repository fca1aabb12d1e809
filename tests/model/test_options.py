from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from configs.errors import ConfigError
from configs.options import validate
from configs.recipe import merge
from model.options import TransformerOptions

OptionsOf = Callable[..., TransformerOptions]


def problems(**changes: object) -> str:
    tree: dict[str, object] = {
        "kind": "transformer",
        "embedder": {"vocab_size": 8, "max_length": 8},
        "dim": 12,
        "num_layers": 1,
        "mixer": {"num_heads": 3},
    }
    with pytest.raises(ConfigError) as error:
        validate(TransformerOptions, merge(tree, changes), "recipe")
    return str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixer": {"num_heads": 5}}, "dim 12 is not a multiple of mixer.num_heads 5; change one, or set"),
        ({"mixer": {"num_kv_heads": 2}}, "mixer: num_heads 3 is not a multiple of num_kv_heads 2"),
        ({"mixer": {"head_dim": 3}}, "rotary positions need a head width that is a multiple of 2, found 3"),
        ({"dim": 9}, "rotary positions need a head width that is a multiple of 2, found 3"),
        ({"mixer": {"head_dims": 4}}, "did you mean 'head_dim'?"),
        ({"dropout": 1.0}, "dropout"),
        ({"num_layers": 0}, "num_layers"),
        ({"feed_forward": "relu6"}, "feed_forward"),
        ({"positions": "rotery"}, "unknown kind 'rotery'; did you mean 'rotary'?"),
        ({"positions": 3}, "expected a kind or a mapping"),
        ({"plan": [{"mixer": {"windw": 3}}]}, "plan[0].mixer.windw"),
        ({"plan": [{"positions": {"kind": "learned"}}]}, "positions of a block are rotary or none"),
    ],
)
def test_impossible_models_are_refused(changes: dict[str, object], message: str) -> None:
    assert message in problems(**changes)


def test_odd_heads_are_allowed_with_learned_positions(options_of: OptionsOf) -> None:
    assert options_of(mixer={"head_dim": 3}, positions="learned").mixer.head_width(16) == 3


def test_head_dim_frees_the_width_from_the_number_of_heads(options_of: OptionsOf) -> None:
    assert options_of(mixer={"num_heads": 5, "head_dim": 4}).mixer.head_width(16) == 4


def test_defaults_follow_the_other_keys(options_of: OptionsOf) -> None:
    assert options_of().mixer.kv_heads == 4
    assert options_of().mixer.head_width(16) == 4
    assert options_of(hidden_dim=None, feed_forward="gelu").hidden_width == 64
    # 8/3 of 16 is 42.7, rounded up to a multiple of 32; 8/3 of 48 is 128 exactly.
    assert options_of(hidden_dim=None).hidden_width == 64
    assert options_of(hidden_dim=None, dim=48).hidden_width == 128


def test_a_plan_is_laid_out_again_and_again_and_cut_short(options_of: OptionsOf) -> None:
    options = options_of(num_layers=5, plan=[{"mixer": {"window": 3}, "repeat": 2}, {"positions": {"kind": "none"}}])
    assert [block.mixer.window for block in options.blocks] == [3, 3, None, 3, 3]
    assert [block.positions.kind for block in options.blocks] == ["rotary", "rotary", "none", "rotary", "rotary"]
    assert [block.mixer.num_heads for block in options.blocks] == [4] * 5
    assert options.order == (0, 1, 2, 3, 4)


def test_groups_of_a_plan_are_looped_or_skipped(options_of: OptionsOf) -> None:
    options = options_of(num_layers=4, plan=[{}, {"repeat": 2, "times": 3}, {"times": 0}])
    assert options.order == (0, 1, 2, 1, 2, 1, 2)


def test_options_are_free_of_torch() -> None:
    code = "import sys, model.options; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
