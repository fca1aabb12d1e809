"""A Hugging Face family: how its configuration and its weight names map to ours, both ways.

A family is data: functions between `config.json` and our options, and a table of `Rename`. From the table follow
import, export, and the report of what is missing or unexpected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic

import torch
from torch import Tensor
from typing_extensions import TypeVar

from configs.options import Part
from model.options import AnyHead, TransformerOptions

Config = Mapping[str, Any]
ModelT = TypeVar("ModelT", bound=Part, default=TransformerOptions)


@dataclass(frozen=True)
class Description(Generic[ModelT]):
    """What a folder of weights describes: a model (one transformer, if no other), and the head trained with it."""

    model: ModelT
    head: AnyHead | None = None


@dataclass(frozen=True)
class Rename:
    """One line of the table of names. `{layer}` stands for a number, `{leaf}` for weight or bias."""

    theirs: str
    ours: str | tuple[str, ...]
    "Several names: their rows, stacked in this order, make one tensor of theirs."
    transposed: bool = False
    "Whether theirs holds matrices as [in, out]."
    lead: int = 0
    "Dimensions of 1 that theirs has in front of ours; below 0: that ours has in front of theirs."

    needs: str | None = None
    "The line holds only where this weight of ours exists too."
    excludes: str | None = None
    "The line holds only where this weight of ours does not exist."

    @property
    def parts(self) -> tuple[str, ...]:
        """Our names."""
        return (self.ours,) if isinstance(self.ours, str) else self.ours


@dataclass(frozen=True)
class Family(Generic[ModelT]):
    """One `model_type`."""

    name: str
    "`model_type` in config.json."
    architectures: Mapping[str, str]
    "Classes of transformers, and the prefix that their names put before the table's: 'transformer.'."
    describe: Callable[[Config, str], Description[ModelT]]
    "(config.json, name of the class) -> our description. Raises ConfigError for what we do not compute."
    config: Callable[[Description[ModelT]], dict[str, Any]]
    "Our description -> config.json, with `architectures`."
    misfits: Callable[[Description[ModelT]], list[str]]
    "Why the family's class does not compute a model; empty where it does."
    names: tuple[Rename, ...]
    "Names of the model's weights, below the class's prefix."
    describes: type[Part] = TransformerOptions
    "The models that `misfits` can judge."
    head_names: tuple[Rename, ...] = ()
    "Names of the head's weights, from the root."
    ignored: tuple[str, ...] = ()
    "Patterns of their names that hold nothing (buffers, copies of tied weights)."
    zeros: tuple[str, ...] = ()
    "Names, from the root, of tensors that must be zero: we have nothing like them."
    computed: Callable[[Description[ModelT]], dict[str, Tensor]] = lambda _: {}
    "What their files hold besides and the description decides (tables of sinusoids), by their names from the root."


@dataclass
class Imported:
    """Weights under our names, and what did not fit."""

    weights: dict[str, Tensor] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    "Our names that nothing of theirs fills."
    unexpected: list[str] = field(default_factory=list)
    "Their names that fill nothing of ours."


def to_ours(
    theirs: Mapping[str, Tensor], names: Iterable[Rename], shapes: Mapping[str, tuple[int, ...]], ignored: Iterable[str]
) -> Imported:
    """Their weights under our names.

    Args:
        theirs: tensors by name.
        names: the table.
        shapes: of every weight of ours.
        ignored: patterns of their names that hold nothing.
    """
    found = Imported()
    used: set[str] = set()
    for theirs_name, ours_names, rename in _pairs(names, shapes):
        if theirs_name not in theirs:
            continue
        used.add(theirs_name)
        tensor = theirs[theirs_name]
        if rename.transposed and tensor.dim() == 2:
            tensor = tensor.t()
        sizes = [shapes[name][0] if shapes[name] else 1 for name in ours_names]
        pieces = torch.split(tensor, sizes) if len(ours_names) > 1 else [tensor]
        for name, piece in zip(ours_names, pieces, strict=True):
            # The same numbers may have another shape there: dimensions of 1.
            found.weights[name] = piece.reshape(shapes[name]).contiguous()
    found.missing = sorted(shapes.keys() - found.weights.keys())
    held = [re.compile(pattern) for pattern in ignored]
    found.unexpected = sorted(
        name for name in theirs.keys() - used if not any(pattern.fullmatch(name) for pattern in held)
    )
    return found


def to_theirs(ours: Mapping[str, Tensor], names: Iterable[Rename]) -> dict[str, Tensor]:
    """Our weights under their names."""
    found = {}
    for theirs_name, ours_names, rename in _pairs(names, ours):
        tensor = torch.cat([ours[name] for name in ours_names]) if len(ours_names) > 1 else ours[ours_names[0]]
        if rename.transposed and tensor.dim() == 2:
            tensor = tensor.t()
        shape = (1,) * rename.lead + tuple(tensor.shape[max(0, -rename.lead) :])
        found[theirs_name] = tensor.reshape(shape).contiguous()
    return found


def _pairs(names: Iterable[Rename], ours: Iterable[str]) -> list[tuple[str, list[str], Rename]]:
    """(their name, our names, rule) for every rule and every number and leaf that occur among ours."""
    known = list(ours)
    present = set(known)
    found = []
    for rename in names:
        pattern = re.compile(
            re.escape(rename.parts[0])
            .replace(r"\{layer\}", r"(?P<layer>\d+)")
            .replace(r"\{leaf\}", r"(?P<leaf>weight|bias)")
        )
        for name in known:
            match = pattern.fullmatch(name)
            if match is None:
                continue
            values = match.groupdict()
            ours_names = [part.format(**values) for part in rename.parts]
            needs = rename.needs is None or rename.needs.format(**values) in present
            excluded = rename.excludes is not None and rename.excludes.format(**values) in present
            if present.issuperset(ours_names) and needs and not excluded:
                found.append((rename.theirs.format(**values), ours_names, rename))
    return found
