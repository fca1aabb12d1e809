"""A Hugging Face folder as a folder of ours: which of its weights found a place, and what is left."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from configs.errors import ConfigError, UserError
from model.initialisation import initial_value_of
from model.interop.described import DescribedModel
from model.interop.families import imported
from model.interop.family import Description, Imported
from model.interop.hugging_face import TOKENIZER_FILES, describe, read_config, read_weights
from model.interop.model_folder import ModelFolder

EMBEDDING = "transformer.embedder.tokens.weight"


@dataclass(frozen=True)
class Coverage:
    """What became of every weight."""

    model_type: str
    architecture: str
    parameters: int
    "Numbers in the model."
    loaded: list[str]
    "Our names that have their weights."
    reshaped: list[str]
    "Those of them that were transposed there, stacked, or of another shape."
    tokenizer: list[str]
    "Files of the tokenizer, taken as they are."
    tied: list[str]
    "Their names that hold the token embedding once more."
    ignored: list[str]
    "Their names that hold nothing."
    missing: list[str]
    "Our names without weights."
    unexpected: list[str]
    "Their names without a place here."


@dataclass(frozen=True)
class Import:
    """A Hugging Face folder, read."""

    source: Path
    model: ModelFolder
    coverage: Coverage

    @classmethod
    def of(cls, source: Path) -> Import:
        """Read `source`, and give its weights our names.

        Raises:
            UserError: when it is no Hugging Face folder, is damaged, or holds what we do not compute.
        """
        config = read_config(source)
        family, architecture, description = describe(config, source / "config.json")
        theirs = read_weights(source)
        shapes = {name: tuple(item.shape) for name, item in _without_memory(description).named_parameters()}
        try:
            found = imported(theirs, family, architecture, shapes)
        except UserError as error:
            raise ConfigError(f"{source}: {error}") from None
        tied = _copies(found, theirs, description)
        coverage = Coverage(
            model_type=family.name,
            architecture=architecture,
            parameters=sum(math.prod(shape) for shape in shapes.values()),
            loaded=sorted(found.weights),
            reshaped=sorted(found.reshaped),
            tokenizer=[name for name in TOKENIZER_FILES if (source / name).is_file()],
            tied=tied,
            ignored=found.ignored,
            missing=found.missing,
            unexpected=[name for name in found.unexpected if name not in tied],
        )
        special = {key: value for key, value in config.items() if key.endswith("_token_id") and value is not None}
        return cls(source, ModelFolder(description, found.weights, special), coverage)

    def require_covered(self, allow_missing: Sequence[str], allow_unexpected: Sequence[str]) -> None:
        """Check that every weight of ours was filled and every one of theirs used, or that a pattern allows it.

        Raises:
            ConfigError: naming the first that are not.
        """
        problems = []
        for what, names, patterns in (
            ("missing", self.coverage.missing, allow_missing),
            ("unexpected", self.coverage.unexpected, allow_unexpected),
        ):
            found = [name for name in names if not any(fnmatchcase(name, pattern) for pattern in patterns)]
            if found:
                more = f" and {len(found) - 3} more" if len(found) > 3 else ""
                problems.append(
                    f"  {what}: {', '.join(found[:3])}{more} (to go on all the same: --allow-{what} PATTERN)"
                )
        if problems:
            raise ConfigError(
                "\n".join([f"{self.source}: its weights are not those of the model it describes:", *problems])
            )

    def write(self, output: Path, dtype: torch.dtype | None) -> None:
        """Create `output`. Weights that are missing get their initial values.

        Args:
            output: the folder to create; it appears complete or not at all.
            dtype: of the weights; None: as they are.

        Raises:
            ConfigError: when `output` exists or cannot be written.
        """
        description, weights = self.model.description, dict(self.model.weights)
        module, usual = _without_memory(description), usual_dtype(weights.values())
        for name in self.coverage.missing:
            shape = tuple(module.get_parameter(name).shape)
            weights[name] = initial_value_of(module, name, shape, 0, description.model).to(usual)
        if dtype is not None:
            weights = {name: tensor.to(dtype) for name, tensor in weights.items()}
        replace(self.model, weights=weights).write(output, self.source)


def usual_dtype(weights: Iterable[Tensor]) -> torch.dtype:
    """The precision that most tensors have; float32 where there are none."""
    counts: Counter[Any] = Counter(tensor.dtype for tensor in weights)
    return counts.most_common(1)[0][0] if counts else torch.float32


def _copies(found: Imported, theirs: dict[str, Tensor], description: Description) -> list[str]:
    """Names of theirs that nothing asks for because they are the token embedding, which the head shares."""
    embedding = found.weights.get(EMBEDDING)
    if embedding is None or not getattr(description.head, "tied", True):
        return []
    return [name for name in found.unexpected if torch.equal(theirs[name], embedding)]


def _without_memory(description: Description) -> DescribedModel:
    """The modules, for their names and shapes."""
    with torch.device("meta"):
        return DescribedModel(description)
