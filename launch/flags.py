"""Options classes as command-line flags: one definition of what can be configured, and of its help."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from configs.errors import ConfigError
from configs.options import Options


def add_flags(parser: argparse.ArgumentParser, options: type[Options], *, leave_out: Iterable[str]) -> None:
    """One flag per field: `--shard-mb 256`, `--mono`/`--no-mono`, `--types age=numeric`."""
    for name, field in options.model_fields.items():
        if name in leave_out:
            continue
        keywords: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": _help(field)}
        types = _alternatives(field.annotation)
        if types == [bool]:
            keywords["action"] = argparse.BooleanOptionalAction
        elif any(get_origin(found) is list for found in types):
            keywords |= {"nargs": "+", "metavar": "VALUE"}
        elif any(get_origin(found) is dict for found in types):
            keywords |= {"nargs": "+", "metavar": "KEY=VALUE"}
        elif get_origin(types[0]) is Literal:
            keywords["choices"] = get_args(types[0])
        else:
            keywords["metavar"] = "TEXT" if types == [str] else "VALUE"
        parser.add_argument(f"--{name.replace('_', '-')}", **keywords)


def given(arguments: argparse.Namespace, options: type[Options]) -> dict[str, Any]:
    """The flags that were given, as a tree for `configs.options.validate`."""
    tree = {}
    for name, field in options.model_fields.items():
        if name in arguments:
            tree[name] = _parsed(f"--{name.replace('_', '-')}", getattr(arguments, name), field)
    return tree


def _parsed(flag: str, value: Any, field: FieldInfo) -> Any:
    types = _alternatives(field.annotation)
    for found in types:
        if get_origin(found) is dict:
            pairs = [str(item).partition("=") for item in value]
            if not all(equals for _, equals, _ in pairs):
                raise ConfigError(f"{flag} {' '.join(value)}: expected KEY=VALUE")
            return {key: _scalar(flag, text, list(get_args(found)[1:])) for key, _, text in pairs}
        if get_origin(found) is list:
            return [_scalar(flag, item, list(get_args(found))) for item in value]
    return _scalar(flag, value, types)


def _scalar(flag: str, text: Any, types: list[Any]) -> Any:
    """Texts stay texts; anything else is written as in YAML."""
    if not isinstance(text, str) or str in types or any(get_origin(found) is Literal for found in types):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"{flag} {text}: not a value") from None


def _alternatives(annotation: Any) -> list[Any]:
    """The types of a field, None left out."""
    if get_origin(annotation) in (Union, UnionType):
        return [found for found in get_args(annotation) if found is not NoneType]
    return [annotation]


def _help(field: FieldInfo) -> str:
    text = (field.description or "").rstrip(".").replace("%", "%%")
    default = field.get_default(call_default_factory=True)
    return text if default in (None, [], {}, "") else f"{text} ({default})"
