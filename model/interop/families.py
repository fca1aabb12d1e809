"""The families, by `model_type`; which one a model belongs to, and why not."""

from __future__ import annotations

import importlib
import re
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
    "vit": "model.interop.vit",
    "deit": "model.interop.deit",
    "beit": "model.interop.beit",
    "dinov2": "model.interop.dinov2",
    "dinov2_with_registers": "model.interop.dinov2_with_registers",
    "vit_mae": "model.interop.vit_mae",
    "clip": "model.interop.clip",
    "wav2vec2": "model.interop.wav2vec2",
    "hubert": "model.interop.hubert",
    "mistral": "model.interop.mistral",
    "qwen3": "model.interop.qwen3",
    "whisper": "model.interop.whisper",
    "bert": "model.interop.bert",
    "roberta": "model.interop.roberta",
    "xlm-roberta": "model.interop.xlm_roberta",
    "xlm-roberta-xl": "model.interop.xlm_roberta_xl",
    "electra": "model.interop.electra",
    "modernbert": "model.interop.modernbert",
    "t5": "model.interop.t5",
    "bart": "model.interop.bart",
    "pegasus": "model.interop.pegasus",
}
"model_type -> module with `FAMILY`. Where several compute a model, the first exports it."
REFUSED = {
    "mt5": "its config.json does not say whether the output matrix is tied: transformers looks for it in the weights",
    "umt5": "every layer has a table of relative positions of its own; here all layers share one",
}
"What is like a family and is none, and why."
_LEAVES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
"Leaves of norms in files converted from TensorFlow, among them Google's BERT; transformers renames them too."
_OLD_LEAF = re.compile(r"LayerNorm\.(gamma|beta)$")


def family(model_type: str) -> Family[Any]:
    """The family of this `model_type`.

    Raises:
        ConfigError: when there is none; with the nearest, or why not.
    """
    if model_type in REFUSED:
        raise ConfigError(f"model_type '{model_type}': not computed: {REFUSED[model_type]}.")
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
    return to_theirs(weights, _table(family, family.architectures[architecture]))


def imported(
    weights: Mapping[str, Tensor], family: Family[Any], architecture: str, shapes: Mapping[str, tuple[int, ...]]
) -> Imported:
    """Weights of the family's class under our names: `transformer.` and `head.`.

    Raises:
        ConfigError: when a tensor has not the size that ours has, or one that we have nothing like is not zero.
    """
    for name in family.zeros:
        if name in weights and weights[name].any():
            raise ConfigError(f"{name}: is not zero, and this family has nothing like it here.")
    prefix = family.architectures[architecture]
    if not any(name.startswith(prefix) for name in weights):
        prefix = ""  # old files of a class with a head hold the names of the one without (gpt2 itself)
    named = {_OLD_LEAF.sub(lambda match: _LEAVES[match[0]], name): item for name, item in weights.items()}
    return to_ours(named, _table(family, prefix), shapes, (*family.ignored, *family.zeros))


def _table(family: Family[Any], prefix: str) -> list[Rename]:
    """The whole table of one class, from the roots on both sides."""
    return [
        *(_rooted(rename, prefix, "transformer.") for rename in family.names),
        *(_rooted(rename, "", "head.") for rename in family.head_names),
    ]


def _rooted(rename: Rename, theirs: str, ours: str) -> Rename:
    beside = {key: getattr(rename, key) for key in ("needs", "excludes")}
    rooted = {key: name and ours + name for key, name in beside.items()} | {
        "older": rename.older and theirs + rename.older
    }
    return replace(rename, theirs=theirs + rename.theirs, ours=tuple(ours + part for part in rename.parts), **rooted)
