"""A Hugging Face family: how its configuration and its weight names map to ours, both ways.

A family is data: functions between `config.json` and our options, and a table of `Rename`. From the table follow
import, export, and the report of what is missing or unexpected.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic

import torch
from torch import Tensor
from typing_extensions import TypeVar

from configs.errors import ConfigError
from configs.options import Options, Part
from model.mixers.options import AttentionOptions
from model.options import AnyHead, BlockOptions, LayerGroup, LMHeadOptions, PoolerOptions, TransformerOptions

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
    older: str | None = None
    "Their whole name for it in older files, which is read too."
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
    describes: type[Part] | tuple[type[Part], ...] = TransformerOptions
    "The models that `misfits` can judge."
    head_names: tuple[Rename, ...] = ()
    "Names of the head's weights, from the root."
    ignored: tuple[str, ...] = ()
    "Patterns of their names that hold nothing (buffers, copies of tied weights)."
    zeros: tuple[str, ...] = ()
    "Names, from the root, of tensors that must be zero: we have nothing like them."
    computed: Callable[[Description[ModelT]], dict[str, Tensor]] = lambda _: {}
    "What their files hold besides and the description decides (tables of sinusoids), by their names from the root."


ANY: Any = object()
"As `wanted`: the family's configuration holds whatever it is."
POSITIVE = range(1, sys.maxsize)
"As `wanted`: 1 or more."
TEXT: Mapping[str, Any] = {"kind": "text"}
"As `wanted`: token ids."
HEADS: Mapping[str, Any] = {"kind": "attention"}
"As `wanted`: plain attention, whose query, key and value heads share the width of the model, in equal parts."
_OF_TRAINING = frozenset({"backend", "documents", "dropout", "init", "int8"})
"Keys that say how a model is trained and how it is computed fast, not what it makes of a document."
_OF_LAYERS = (frozenset(LayerGroup.model_fields) - {"positions"}) | {"plan"}
"Keys of the model that count in its blocks alone. Its positions are also those of the embedder."


def differences(model: Part, where: str = "model", *, by_layer: Collection[str] = (), **wanted: Any) -> list[str]:
    """The keys that keep a model from a family's class: "model.norm=rms".

    Every key counts. One that is not in `wanted` must amount to its default (a size, which has none, may be anything),
    so a key that the model gets one day keeps it from all families until they say what they do with it. A key that is
    null counts as what it follows: `norm_bias` as `bias`.

    Args:
        model: the model.
        where: its key.
        by_layer: keys of blocks that may differ from layer to layer: "mixer.window".
        wanted: what the family computes, by key: a value, a tuple or range of values, `ANY`, or, of a part, a mapping
            of its kind and keys.
    """
    if not isinstance(model, TransformerOptions):
        return _differing(model, wanted, where, model)
    found = _differing(model, wanted, where, model, leave_out=_OF_LAYERS)
    for block in model.blocks:
        found += _differing(block, wanted, where, block)
    whole, layers = _leaves(model.tree()), [_leaves(block.tree()) for block in model.blocks]
    for key in sorted(set().union(*layers) - set(by_layer)):
        if any(layer.get(key) != whole.get(key) for layer in layers):
            found.append(f"{where}.plan: layers differ in {key}")
    if model.order != tuple(range(model.num_layers)):
        found.append(f"{where}.plan: layers are run several times, or not at all")
    return list(dict.fromkeys(found))


def head_differences(description: Description[Any], *heads: Mapping[str, Any], needed: bool = False) -> list[str]:
    """As `differences`, of a head: there may be none (unless one is `needed`), or one of `heads`."""
    head = description.head
    if head is None:
        return ["head=None"] if needed else []
    wanted = [one for one in heads if one["kind"] == head.kind]
    return _differing(head, wanted[0], "head", description.model) if wanted else [f"head={head.kind}"]


def _differing(
    options: Options, wanted: Mapping[str, Any], where: str, within: Options, *, leave_out: Collection[str] = ()
) -> list[str]:
    found: list[str] = []
    for name, about in type(options).model_fields.items():
        if name in _OF_TRAINING or name in leave_out:
            continue
        value = _settled(options, name, within)
        if name in wanted:
            expected = wanted[name]
        elif about.is_required():
            expected = ANY
        else:
            default = about.get_default(call_default_factory=True)
            expected = _settled(options.model_copy(update={name: default}), name, within)
        if isinstance(expected, Mapping) and value.kind == expected["kind"]:
            key = f"{where}.{name}"
            is_model = isinstance(value, TransformerOptions)
            found += differences(value, key, **expected) if is_model else _differing(value, expected, key, within)
        elif not _is_wanted(value, expected):
            found.append(f"{where}.{name}={value.kind if isinstance(value, Part) else value}")
    return found


def _settled(options: Options, name: str, within: Any) -> Any:
    """The value of a key, or of what it follows where it is null; `within`: the block or model that it is a part of."""
    value = getattr(options, name)
    if value is not None:
        return value
    if isinstance(options, BlockOptions):
        follows: dict[str, Any] = {"hidden_dim": options.hidden_width, "norm_bias": options.norm_has_bias}
        if isinstance(options, TransformerOptions):
            follows["final_norm"] = options.has_final_norm
        return follows.get(name)
    if isinstance(options, AttentionOptions):
        return {
            "num_kv_heads": options.num_heads,
            "head_dim": options.head_width(within.dim),
            "scale": options.head_width(within.dim) ** -0.5,
            "bias": within.bias,
            "key_bias": attention_bias(options, within),
            "output_bias": attention_bias(options, within),
        }.get(name)
    if isinstance(options, LMHeadOptions):
        return {"width": within.dim, "transform_norm_bias": options.transform_bias}.get(name)
    return within.dim if isinstance(options, PoolerOptions) and name == "width" else None


def attention_bias(mixer: AttentionOptions, within: BlockOptions) -> bool:
    """Whether projections of attention have biases, in this block."""
    return within.bias if mixer.bias is None else mixer.bias


def _is_wanted(value: object, expected: object) -> bool:
    if isinstance(expected, tuple | range):
        return value in expected
    return expected is ANY or value == expected


def _leaves(tree: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Values by their whole keys, "mixer.window"; not those of training."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found |= _leaves(value, f"{where}{name}.")
        elif name not in _OF_TRAINING:
            found[where + name] = value
    return found


@dataclass
class Imported:
    """Weights under our names, and what did not fit."""

    weights: dict[str, Tensor] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    "Our names that nothing of theirs fills."
    unexpected: list[str] = field(default_factory=list)
    "Their names that fill nothing of ours."
    ignored: list[str] = field(default_factory=list)
    "Their names that hold nothing."
    reshaped: list[str] = field(default_factory=list)
    "Our names that were transposed there, stacked, or of another shape."


def to_ours(
    theirs: Mapping[str, Tensor], names: Iterable[Rename], shapes: Mapping[str, tuple[int, ...]], ignored: Iterable[str]
) -> Imported:
    """Their weights under our names.

    Args:
        theirs: tensors by name.
        names: the table.
        shapes: of every weight of ours.
        ignored: patterns of their names that hold nothing.

    Raises:
        ConfigError: when a tensor of theirs has not the size that ours have.
    """
    found = Imported()
    used: set[str] = set()
    for theirs_name, ours_names, rename in _pairs(names, shapes):
        if rename.older is not None and theirs_name not in theirs:
            theirs_name = rename.older
        if theirs_name not in theirs:
            continue
        used.add(theirs_name)
        tensor = theirs[theirs_name]
        is_transposed = rename.transposed and tensor.dim() == 2
        _require_fitting(theirs_name, tensor, [shapes[name] for name in ours_names], is_transposed=is_transposed)
        if is_transposed:
            tensor = tensor.t()
        sizes = [shapes[name][0] if shapes[name] else 1 for name in ours_names]
        pieces = torch.split(tensor, sizes) if len(ours_names) > 1 else [tensor]
        for name, piece in zip(ours_names, pieces, strict=True):
            # The same numbers may have another shape there: dimensions of 1.
            found.weights[name] = piece.reshape(shapes[name]).contiguous()
            if is_transposed or theirs[theirs_name].shape != shapes[name]:
                found.reshaped.append(name)
    found.missing = sorted(shapes.keys() - found.weights.keys())
    held = [re.compile(pattern) for pattern in ignored]
    for name in sorted(theirs.keys() - used):
        (found.ignored if any(pattern.fullmatch(name) for pattern in held) else found.unexpected).append(name)
    return found


def _require_fitting(name: str, tensor: Tensor, shapes: list[tuple[int, ...]], *, is_transposed: bool) -> None:
    """Check that a tensor of theirs holds as many numbers as ours, and that matrices are not the other way round."""
    wanted = (sum(shape[0] for shape in shapes), *shapes[0][1:]) if shapes[0] else ()
    wanted = wanted[::-1] if is_transposed else wanted
    is_matrix = tensor.dim() == len(wanted) == 2
    if tensor.numel() != math.prod(wanted) or (is_matrix and tensor.shape != wanted):
        found, expected = (" x ".join(map(str, shape)) or "a number" for shape in (tensor.shape, wanted))
        raise ConfigError(f"{name}: its shape is {found}, and config.json describes {expected}.")


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
