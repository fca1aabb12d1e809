"""Patterns over the names of parameters and modules: what to freeze, to decay, to adapt, to look at. Free of torch.

    transformer.blocks.*.mixer.query.weight     * stands for any text within one level
    transformer.blocks.[0-3].**                 [...] for one of these characters; ** for any number of levels
    **@norm                                     @kind: only parameters of a kind; of every level where nothing precedes
    !transformer.embedder.**                    not these

A list is read in order and later patterns win, as in a .gitignore; one that begins with an exclusion begins with
everything. A pattern that matches nothing is an error: it is nearly always a misspelt name.

Kinds overlap: `matrix` (two and more dimensions, embeddings apart), `vector` (the rest), `embedding`, `norm`, `bias`.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from configs.errors import ConfigError
from configs.options import nearest

KINDS = ("matrix", "vector", "embedding", "norm", "bias")
"What may follow @; `model.parameters` says which parameter is what."

_WILDCARDS = re.compile(r"(\*|\[[^\]]+\])")


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def summarised(names: Iterable[str]) -> str:
    """Names in few words: "blocks.*.norm.weight (12), norm.weight"; numbers stand for one another."""
    counts = Counter(re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name) for name in names)
    return ", ".join(name if count == 1 else f"{name} ({count})" for name, count in counts.items())


def _checked(patterns: list[str]) -> list[str]:
    if not patterns:
        raise ValueError("expected a pattern or a list of them, such as 'transformer.blocks.**'")
    for pattern in patterns:
        _, name, kind = _parts(pattern)
        if not all(name.split(".")):
            raise ValueError(f"pattern '{pattern}': a level is empty")
        if kind and kind not in KINDS:
            raise ValueError(f"pattern '{pattern}': no such kind; {nearest(kind, KINDS)}")
    return patterns


Patterns = Annotated[list[str], BeforeValidator(_as_list), AfterValidator(_checked)]
"A field of options: one pattern, or a list of them."


def select(
    patterns: Sequence[str], names: Iterable[str], where: str, kinds: Mapping[str, Collection[str]] | None = None
) -> list[str]:
    """The names that the patterns select, in the order of `names`.

    Args:
        patterns: as the module describes.
        names: all there are.
        where: the key they come from, for messages ("surgery[1].select").
        kinds: of every name, where patterns may ask for them.

    Raises:
        ConfigError: when one of the patterns matches nothing.
    """
    names = list(names)
    selected = set(names) if patterns and patterns[0].startswith("!") else set()
    for pattern in patterns:
        is_excluded, name_pattern, kind = _parts(pattern)
        matches = {
            name
            for name in names
            if matched(name_pattern, name) is not None and (not kind or kind in (kinds or {}).get(name, ()))
        }
        if not matches:
            raise ConfigError(f"{where}: '{pattern}' matches nothing; {_hint(name_pattern, names)}")
        selected = selected - matches if is_excluded else selected | matches
    return [name for name in names if name in selected]


def matched(pattern: str, name: str) -> tuple[str, ...] | None:
    """What the wildcards `*` and `**` of a plain pattern stand for in `name`; None where it does not match.

    A text taken by `**` ends with a dot, or is empty.
    """
    match = _compiled(pattern).fullmatch(f"{name}.")
    return None if match is None else match.groups()


def filled(pattern: str, texts: Sequence[str]) -> str:
    """The name that a plain pattern becomes when its wildcards stand for `texts`: the inverse of `matched`."""
    left = iter(texts)
    levels = []
    for level in pattern.split("."):
        if level == "**":
            levels.append(next(left))
        else:
            levels.append("".join(next(left) if part == "*" else part for part in _WILDCARDS.split(level)) + ".")
    return "".join(levels).removesuffix(".")


def num_wildcards(pattern: str) -> int:
    """How many texts `matched` gives and `filled` takes."""
    return _compiled(pattern).groups


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Over a name with a dot behind every level. A colon (it separates what is inside a module) is never a wildcard's.

    Only `*` and `**` are groups.
    """
    levels = []
    for level in pattern.split("."):
        if level == "**":
            levels.append(r"((?:[^.:]+\.)*)")
        else:
            levels.append("".join(_expression(part) for part in _WILDCARDS.split(level)) + r"\.")
    return re.compile("".join(levels))


def _expression(part: str) -> str:
    if part == "*":
        return "([^.:]*)"
    return part if part.startswith("[") else re.escape(part)


def _parts(pattern: str) -> tuple[bool, str, str]:
    """(is it an exclusion, the pattern of the name, the kind or "")."""
    name, _, kind = pattern.removeprefix("!").partition("@")
    return pattern.startswith("!"), name or ("**" if kind else ""), kind


def _hint(pattern: str, names: Sequence[str]) -> str:
    """The nearest names; of a module, how to say all that is in it."""
    inside = [name for name in names if matched(f"{pattern}.**", name) is not None]
    if inside:
        return f"did you mean '{pattern}.**' (such as {inside[0]})?"
    close = difflib.get_close_matches(pattern, names, n=3, cutoff=0.3)
    return f"nearest: {', '.join(close)}" if close else f"there are: {', '.join(names[:3])}, ..."
