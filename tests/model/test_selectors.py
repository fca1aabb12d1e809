from __future__ import annotations

import pytest
from pydantic import ValidationError
from torch import nn

from configs.errors import ConfigError
from model.parameters import kinds_of, shapes_of
from model.selectors import filled, matched, select
from model.surgery.options import FreezeOptions

NAMES = [
    "embedder.tokens.weight",
    "blocks.0.mixer.query.weight",
    "blocks.0.mixer.query.bias",
    "blocks.1.mixer.query.weight",
    "blocks.10.mixer.query.weight",
    "norm.weight",
]


@pytest.mark.parametrize(
    ("pattern", "name", "texts"),
    [
        ("norm.weight", "norm.weight", ()),
        ("norm.weight", "norm.weights", None),
        ("norm", "norm.weight", None),
        ("norm_weight", "norm.weight", None),
        ("*.weight", "norm.weight", ("norm",)),
        ("*.weight", "a.norm.weight", None),
        ("n*m.w*", "norm.weight", ("or", "eight")),
        ("**.weight", "a.norm.weight", ("a.norm.",)),
        ("**.weight", "weight", ("",)),
        ("a.**", "a", ("",)),
        ("a.**", "a.b.c", ("b.c.",)),
        ("a.**.c.*", "a.c.d", ("", "d")),
        ("blocks.[0-3].*", "blocks.2.x", ("x",)),
        ("blocks.[0-3].*", "blocks.4.x", None),
        ("blocks.[0-3].*", "blocks.12.x", None),
        ("**", "blocks.0.mixer:queries", None),
        ("**.mixer:*", "blocks.0.mixer:queries", ("blocks.0.", "queries")),
    ],
)
def test_a_pattern_matches_level_by_level(pattern: str, name: str, texts: tuple[str, ...] | None) -> None:
    assert matched(pattern, name) == texts
    if texts is not None and "[" not in pattern:
        assert filled(pattern, texts) == name


@pytest.mark.parametrize(
    ("patterns", "numbers"),
    [
        (["**"], [0, 1, 2, 3, 4, 5]),
        (["blocks.*.**"], [1, 2, 3, 4]),
        (["**.weight", "!blocks.**"], [0, 5]),
        (["**.weight", "!blocks.**", "blocks.1.**"], [0, 3, 5]),
        (["!blocks.**"], [0, 5]),
        (["norm.weight", "embedder.tokens.weight"], [0, 5]),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_later_patterns_win_and_the_order_of_names_stays(patterns: list[str], numbers: list[int]) -> None:
    assert select(patterns, NAMES, "key") == [NAMES[number] for number in numbers]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("blocks.0.mixer.quary.weight", r"^key: 'blocks.0.mixer.quary.weight' matches nothing; nearest: blocks.0"),
        ("blocks.0.mixer", r"did you mean 'blocks.0.mixer.\*\*' \(such as blocks.0.mixer.query.weight\)\?"),
        ("!heads.**", r"'!heads.\*\*' matches nothing"),
    ],
)
def test_a_pattern_that_matches_nothing_is_an_error_that_names_the_nearest(pattern: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        select(["**", pattern], NAMES, "key")


def test_kinds_are_what_the_owners_say() -> None:
    module = nn.ModuleDict(
        {"table": nn.Embedding(3, 2), "layer": nn.Linear(2, 2), "norm": nn.LayerNorm(2), "scale": nn.RMSNorm(2)}
    )
    kinds, names = kinds_of(module), list(shapes_of(module))
    found = {kind: select([f"@{kind}"], names, "key", kinds) for kind in ("matrix", "vector", "embedding", "bias")}
    assert found == {
        "matrix": ["layer.weight"],
        "vector": ["layer.bias", "norm.weight", "norm.bias", "scale.weight"],
        "embedding": ["table.weight"],
        "bias": ["layer.bias", "norm.bias"],
    }
    assert select(["**@norm", "!norm.**@bias"], names, "key", kinds) == ["norm.weight", "scale.weight"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "expected a pattern or a list"),
        ("a..b", "a level is empty"),
        ("@nrom", "no such kind; did you mean 'norm'"),
        (3, "valid list"),
    ],
)
def test_options_take_one_pattern_or_a_list_and_refuse_what_is_none(value: object, message: str) -> None:
    assert FreezeOptions.model_validate({"select": "a.b"}).select == ["a.b"]
    assert FreezeOptions.model_validate({"select": ["a.b", "!@norm"]}).select == ["a.b", "!@norm"]
    with pytest.raises(ValidationError, match=message):
        FreezeOptions.model_validate({"select": value})
