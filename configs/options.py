"""`Options`, `Part` and `Kind`: validated, immutable descriptions of everything configurable.

    class WindowOptions(Part):
        kind: Literal["window"] = "window"
        size: int = Field(default=256, gt=0)
        "Tokens that a query may look back."

        builds: ClassVar[str] = "model.windows:Window"

    class ModelOptions(Options):
        visibility: Annotated[WindowOptions | CausalOptions, Kind()]

Options stay free of torch, so a recipe is checked in a fraction of a second; the code a part
describes is imported only when the part is constructed. In a recipe `kind: window` picks the class,
and `kind: package.module:Class` picks a class of the user's own, whose nested `Class.Options`
(a `Part`) describes its keys.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from configs.errors import ConfigError


class Options(BaseModel):
    """Base of every options class: immutable, strictly typed, no unknown keys.

    The string under a field is its documentation; it appears in the JSON schema.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        use_attribute_docstrings=True,
        validate_default=True,
        allow_inf_nan=False,
        populate_by_name=True,
    )

    @model_validator(mode="wrap")
    @classmethod
    def _suggest_known_keys(cls, value: object, handler: Any) -> Self:
        """Turn "extra inputs are not permitted" into a message that names the nearest known key."""
        try:
            return handler(value)  # type: ignore[no-any-return]
        except ValidationError as error:
            known = [field.alias or name for name, field in cls.model_fields.items()]
            raise ValidationError.from_exception_data(
                error.title, [_line_error(line, known) for line in error.errors()]
            ) from None

    def tree(self) -> dict[str, Any]:
        """These options as plain mappings, lists and scalars, under the names used in YAML."""
        return self.model_dump(mode="json", by_alias=True, serialize_as_any=True)


class Part(Options):
    """Options of something replaceable, chosen in a recipe by `kind:`."""

    builds: ClassVar[str] = ""
    "Import path `package.module:Class` of the class these options describe."

    kind: str
    "Which implementation: one of the built-in names, or `package.module:Class` for your own."


PartT = TypeVar("PartT", bound=Part)


@dataclass(frozen=True)
class Kind:
    """Annotation: choose among the annotated union of `Part` classes by the key `kind`.

    `default` is the kind taken when the recipe gives a mapping without one.
    """

    default: str | None = None

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        classes = get_args(source) or (source,)
        choices = {cls.model_fields["kind"].default: cls for cls in classes}

        def choose(value: object, _handler: object) -> object:
            if isinstance(value, Part):
                return value
            if isinstance(value, str):  # `positions: rotary` is short for `positions: {kind: rotary}`
                value = {"kind": value}
            if not isinstance(value, Mapping):
                raise PydanticCustomError(
                    "part", "expected a kind or a mapping with the key 'kind', found {value}", {"value": repr(value)}
                )
            kind = value.get("kind", self.default)
            if isinstance(kind, str) and ":" in kind:
                return import_options(kind).model_validate({**value, "kind": kind})
            if not isinstance(kind, str) or kind not in choices:
                raise PydanticCustomError("kind", "{message}", {"message": _unknown_kind(kind, choices)})
            return choices[kind].model_validate({**value, "kind": kind})

        return core_schema.no_info_wrap_validator_function(choose, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        # Editors know the short form too: `positions: rotary`.
        described = dict(handler(schema))
        choices = described.pop("anyOf", None) or [{"$ref": described.pop("$ref")}]
        names = [re.sub(r".*/", "", choice["$ref"]) for choice in choices]
        return {**described, "anyOf": [*choices, {"type": "string", "title": f"A kind: short for {', '.join(names)}"}]}


def validate(options_class: type[Options], tree: Mapping[str, Any], where: str) -> Options:
    """Check `tree` against `options_class`.

    Args:
        options_class: what the tree must describe.
        tree: plain mappings, as read from YAML.
        where: what the tree came from, for the message ("configs/quickstart.yaml").

    Raises:
        ConfigError: with every problem found, one line each.
    """
    try:
        return options_class.model_validate(tree)
    except ValidationError as error:
        lines = [f"  {_describe(line)}" for line in error.errors()]
        count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
        raise ConfigError("\n".join([f"{where}: {count}", *lines])) from None


def construct(part: Part, *args: object, **kwargs: object) -> object:
    """Import the class that `part` describes and call it with the options and the arguments."""
    constructor: Any = import_object(implementation(part))
    return constructor(part, *args, **kwargs)


def implementation(part: Part) -> str:
    """The import path of the class that `part` describes."""
    return part.kind if ":" in part.kind else part.builds


def import_object(path: str) -> object:
    """The object named by `package.module:Name`.

    Raises:
        ConfigError: when the module or the name does not exist.
    """
    module_name, _, name = path.partition(":")
    expected = "Expected package.module:Class, importable from this environment."
    if not all(part.isidentifier() for part in (*module_name.split("."), name)):
        raise ConfigError(f"kind '{path}': not the name of a class. {expected}")
    try:
        return getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"kind '{path}': {error}. {expected}") from error


def import_options(path: str) -> type[Part]:
    """The nested `Options` class of a user's own part."""
    options = getattr(import_object(path), "Options", None)
    if not (isinstance(options, type) and issubclass(options, Part)):
        raise ConfigError(
            f"kind '{path}': the class needs a nested class Options(configs.options.Part) that lists its keys."
        )
    return options


def nearest(name: str, known: Iterable[str]) -> str:
    """A suggestion to append to a message: the nearest known name, else the list of all."""
    names = sorted(str(item) for item in known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(names)}"


def _unknown_kind(kind: object, choices: Mapping[str, object]) -> str:
    if kind is None:
        return f"the key 'kind' is missing; one of: {', '.join(sorted(choices))}"
    return f"unknown kind '{kind}'; {nearest(str(kind), choices)}"


def _line_error(line: Any, known: list[str]) -> InitErrorDetails:
    """Rebuild one pydantic error; an unknown key of this level gets a suggestion."""
    kind: str | PydanticCustomError = line["type"]
    context = line.get("ctx", {})
    if kind == "extra_forbidden" and len(line["loc"]) == 1:
        hint = nearest(str(line["loc"][0]), known)
        kind = PydanticCustomError("unknown_key", "unknown key; {hint}", {"hint": hint})
    elif kind not in get_args(core_schema.ErrorType):
        # Ours, or raised by a user's own part. The text goes in as a value: it may contain braces.
        kind = PydanticCustomError(line["type"], "{message}", {"message": line["msg"]})
    return InitErrorDetails(type=kind, loc=line["loc"], input=line["input"], ctx=context)


def _describe(line: Any) -> str:
    key = ".".join(str(part) for part in line["loc"]) or "recipe"
    message = line["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if line["type"] in ("unknown_key", "kind", "part", "missing", "value_error"):
        return f"{key}: {message}" if line["type"] != "missing" else f"{key}: this key is required"
    return f"{key}: {message}, found {line['input']!r}"
