"""The families, by `model_type`; which one a model belongs to, and why not."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from configs.errors import ConfigError
from configs.options import nearest
from model.interop.family import Description, Family, Imported, Rename, to_ours, to_theirs

FAMILIES = {
    "llama": "model.interop.llama",
    "gpt2": "model.interop.gpt2",
    "t5": "model.interop.t5",
    "bart": "model.interop.bart",
    "pegasus": "model.interop.pegasus",
}
"model_type -> module with `FAMILY`. Where several compute a model, the first exports it."


def family(model_type: str) -> Family[Any]:
    """The family of this `model_type`.

    Raises:
        ConfigError: when there is none.
    """
    if model_type not in FAMILIES:
        raise ConfigError(f"model_type '{model_type}': no such family; {nearest(model_type, FAMILIES)}")
    return importlib.import_module(FAMILIES[model_type]).FAMILY  # type: ignore[no-any-return]


def family_of(description: Description[Any]) -> Family[Any]:
    """The family whose class computes exactly this model.

    Raises:
        ConfigError: naming, for every family, the keys that differ from it.
    """
    reasons = []
    for name in FAMILIES:
        found = family(name)
        misfits = [f"model.kind={description.model.kind}"]
        if isinstance(description.model, found.describes):
            misfits = found.misfits(description)
        if not misfits:
            return found
        reasons.append(f"  {name}: not with {', '.join(misfits)}")
    raise ConfigError("\n".join(["no Hugging Face family computes this model:", *reasons]))


def exported(weights: Mapping[str, Tensor], family: Family[Any], architecture: str) -> dict[str, Tensor]:
    """Weights of `transformer.` and `head.` under the names of the family's class."""
    return to_theirs(weights, _table(family, architecture))


def imported(
    weights: Mapping[str, Tensor], family: Family[Any], architecture: str, shapes: Mapping[str, tuple[int, ...]]
) -> Imported:
    """Weights of the family's class under our names: `transformer.` and `head.`.

    Raises:
        ConfigError: when a tensor that we have nothing like is not zero.
    """
    for name in family.zeros:
        if name in weights and weights[name].any():
            raise ConfigError(f"{name}: is not zero, and this family has nothing like it here.")
    return to_ours(weights, _table(family, architecture), shapes, (*family.ignored, *family.zeros))


def _table(family: Family[Any], architecture: str) -> list[Rename]:
    """The whole table of one class, from the roots on both sides."""
    prefix = family.architectures[architecture]
    return [
        *(_rooted(rename, prefix, "transformer.") for rename in family.names),
        *(_rooted(rename, "", "head.") for rename in family.head_names),
    ]


def _rooted(rename: Rename, theirs: str, ours: str) -> Rename:
    beside = {key: getattr(rename, key) for key in ("needs", "excludes")}
    rooted = {key: name and ours + name for key, name in beside.items()}
    return replace(rename, theirs=theirs + rename.theirs, ours=tuple(ours + part for part in rename.parts), **rooted)
