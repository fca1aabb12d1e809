"""The shape of a recipe, and the checks that span its sections. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self, cast

import yaml
from pydantic import Field, model_validator

from configs.errors import ConfigError
from configs.options import Options, Part, validate
from configs.recipe import load_tree
from data.batches import BatchOptions
from data.sources import DataOptions, plain_sources
from model.int8.options import Int8Options, require_int8
from model.options import AnyModel, transformers_of
from model.surgery.options import AnyEdit
from train.engines.options import AccelerateOptions, AnyEngine
from train.objectives.options import AnyObjective, CausalLMOptions
from train.options import AnyOptimizer, CheckpointOptions, LogOptions, TrainOptions
from train.probes.options import AnyProbe

_READ_BY = {"length": 0, "input_length": 0, "target_length": -1}
"Lengths that sources have, and which embedder of the model reads so many tokens: the first or the last."


class Recipe(Options):
    """One run."""

    run: str = Field(min_length=1)
    "The run folder: everything the run writes. Starting again with the same folder resumes."
    seed: int = Field(default=0, ge=0)
    "The one number behind initial weights, order of samples and dropout."
    precision: Literal["float32", "bf16", "int8"] = "float32"
    """Arithmetic of the forward and backward pass; master weights and moments are float32. int8: blocks whose operators
    exchange 8-bit matrices, and `int8.around` around them."""
    int8: Int8Options = Int8Options()
    "How 8-bit matrices are held, with precision: int8."
    train: TrainOptions
    "How long, and how."
    batch: BatchOptions
    "Sizes of the batch."
    data: DataOptions
    "What is read."
    model: AnyModel
    "The model."
    surgery: list[AnyEdit] = Field(default_factory=list)
    "What is done to the model before training, in order: loading weights, freezing, adapters, prompts."
    objective: AnyObjective = CausalLMOptions()
    "What is learned."
    optimizer: AnyOptimizer
    "The optimizer and its schedule."
    engine: AnyEngine = AccelerateOptions()
    "Where parameters live and how a step is taken."
    probes: dict[str, AnyProbe] = Field(default_factory=dict)
    "Measurements by name, taken while training and at the end."
    checkpoint: CheckpointOptions = CheckpointOptions()
    "When checkpoints are written and which are kept."
    log: LogOptions = LogOptions()
    "What is written while training."

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        for split in ("train", "validation"):
            options = getattr(self.data, split)
            for key, source in plain_sources(options).items() if options is not None else ():
                self._check_lengths(source, f"data.{split}{key}")
        for name, probe in self.probes.items():
            probe.require(self.data, name)
        self._check_int8()
        return self

    def _check_int8(self) -> None:
        if self.precision == "int8":
            require_int8(transformers_of(self.model))
            if self.train.compile:
                raise ValueError("train.compile: 8-bit blocks are not compiled; set train.compile=false")
        elif self.int8 != Int8Options():
            raise ValueError(
                f"int8: precision={self.precision} has no such matrices; set precision=int8, or leave int8 out"
            )

    def autocasts(self, device: str) -> bool:
        """Whether what is not in 8 bits is bf16, over float32 weights, on devices of this type."""
        return self.precision == "int8" and (device == "cuda" or self.int8.around == "bf16")

    def _check_lengths(self, source: Part, where: str) -> None:
        embedders = list(self.model.embedders.items())
        for name, place in _READ_BY.items():
            (key, embedder), length = embedders[place], getattr(source, name, 0)
            if embedder.longest is not None and length > embedder.longest:
                raise ValueError(
                    f"{where}.{name}={length} is longer than model.{key}.max_length={embedder.longest}; change one"
                )

    def yaml(self) -> str:
        """The resolved recipe, every default filled in."""
        return yaml.safe_dump(self.tree(), sort_keys=False)

    def identity(self) -> dict[str, Any]:
        """The keys that make it this run and no other; the others may change when it is resumed.

        The data are not here: checkpoints carry their fingerprint, so shards may be moved.
        """
        tree = self.tree()
        parts = {"batch": {"global": tree["batch"]["global"]}, "train": {"clip_norm": tree["train"]["clip_norm"]}}
        parts["data"] = {"order": {key: value for key, value in tree["data"]["order"].items() if key != "epochs"}}
        whole = {key: tree[key] for key in ("seed", "surgery", "objective", "optimizer")}
        return parts | whole | {"model": _without_arithmetic(tree["model"])}


def _without_arithmetic(model: Any) -> Any:
    """What computes attention may change, and which blocks are in 8 bits: a run may move to another machine."""
    if isinstance(model, list):
        return [_without_arithmetic(item) for item in model]
    if not isinstance(model, dict):
        return model
    return {key: _without_arithmetic(value) for key, value in model.items() if key not in ("backend", "int8")}


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read, merge, override and validate a recipe.

    Raises:
        ConfigError: with every problem found.
    """
    return cast(Recipe, validate(Recipe, load_tree(path, overrides), str(path)))


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Keys whose values differ: "model.dim: 128 there, 256 here"."""
    return [f"{'.'.join(path)}: {there} there, {here} here" for path, here, there in differing(ours, theirs)]


def differing(
    ours: dict[str, Any], theirs: dict[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """The paths to keys whose values differ, sorted, each with our value and theirs; None where there is none."""
    for key in sorted(ours.keys() | theirs.keys()):
        here, there = ours.get(key), theirs.get(key)
        if isinstance(here, dict) and isinstance(there, dict):
            yield from differing(here, there, (*path, key))
        elif here != there:
            yield (*path, key), here, there


def recipe_of_run(run: Path) -> Recipe:
    """The recipe in a run folder.

    Raises:
        ConfigError: when `run` is not a run folder.
    """
    return cast(Recipe, validate(Recipe, tree_of_run(run), str(run / "config.yaml")))


def tree_of_run(run: Path) -> Any:
    """The recipe in a run folder as it was written, not validated: it may be of another version.

    Raises:
        ConfigError: when `run` is not a run folder.
    """
    path = run / "config.yaml"
    if not path.is_file():
        raise ConfigError(f"{run}: not a run folder: it has no config.yaml.")
    try:
        # Read as it was written: resolved, so "${...}" and "1e-3" in it are text.
        return yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
