"""Options classes as command-line flags."""

from __future__ import annotations

import argparse
from typing import Any, Literal, get_args

import pytest

from configs.errors import ConfigError
from configs.options import validate
from data.packing.kinds import AnyPack
from data.packing.options import PackOptions
from launch.flags import add_flags, given


class Many(PackOptions):
    """One field of every shape."""

    kind: Literal["many"] = "many"
    text: str = "a"
    "A text."
    number: int | None = None
    "A number."
    share: float = 0.5
    "A share, 50% by default."
    mode: Literal["one", "two"] = "one"
    "A choice."
    is_fast: bool = False
    "A switch."
    names: list[str] | None = None
    "A list."
    sizes: list[int] = []
    "Numbers."
    types: dict[str, str] = {}
    "A mapping."


def parsed(*argv: str, options: type[PackOptions] = Many) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    add_flags(parser, options, leave_out={"kind"})
    return given(parser.parse_args(argv), options)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], {}),
        (["--text", "12"], {"text": "12"}),
        (["--text", "null"], {"text": "null"}),
        (["--number", "12", "--share", "0.25"], {"number": 12, "share": 0.25}),
        (["--number", "null"], {"number": None}),
        (["--mode", "two", "--is-fast"], {"mode": "two", "is_fast": True}),
        (["--no-is-fast"], {"is_fast": False}),
        (["--names", "a", "1", "--sizes", "1", "2"], {"names": ["a", "1"], "sizes": [1, 2]}),
        (["--types", "age=numeric", "zip=a=b"], {"types": {"age": "numeric", "zip": "a=b"}}),
    ],
)
def test_flags_give_what_the_options_take(argv: list[str], expected: dict[str, Any]) -> None:
    found = parsed(*argv)
    assert found == expected
    validate(Many, {"corpus": "x", **found}, "test")


def test_wrong_values_are_refused_by_the_options() -> None:
    with pytest.raises(ConfigError, match="number: input should be a valid integer"):
        validate(Many, {"corpus": "x", **parsed("--number", "many")}, "test")
    with pytest.raises(ConfigError, match="--types age: expected KEY=VALUE"):
        parsed("--types", "age")


@pytest.mark.parametrize("options", get_args(AnyPack), ids=lambda options: options.model_fields["kind"].default)
def test_every_kind_has_a_flag_and_a_help_text_for_every_field(options: type[PackOptions]) -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, options, leave_out={"kind", "corpus"})
    text = parser.format_help()
    for name, field in options.model_fields.items():
        if name not in ("kind", "corpus"):
            assert f"--{name.replace('_', '-')}" in text
            assert field.description, name
