"""The interface of objectives, and how one is built."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, cast

from torch import Tensor, nn

from configs.errors import ConfigError
from configs.options import construct, implementation, import_object
from data.loader import Batch
from data.reading import Reader, Row
from data.sample import Sample, Source
from model.initialisation import initial_value_of
from model.options import AnyModel
from model.surgery.edit import Surgery
from model.surgery.options import AnyEdit
from model.transformer import Transformer
from train.objectives.options import AnyObjective
from train.weights import open_weights


class Objective(nn.Module, ABC):
    """A module that owns everything trained, and what is needed to train it."""

    fields: ClassVar[tuple[str, ...]]
    "The fields of a sample that it reads."
    follows_width: ClassVar[bool] = False
    "Whether its heads do their share for models with `init.base_dim`."
    surgery = Surgery()
    "What was done to it since it was constructed; `build_objective` says."

    def set_step(self, step: int, last: int) -> None:
        """Called before every training step: what follows the step (a temperature) is a pure function of it.

        Args:
            step: optimizer steps already taken.
            last: `train.steps`.
        """

    @abstractmethod
    def num_targets(self, batch: Batch) -> int:
        """How many terms the loss of `batch` sums (predicted tokens). Called on the CPU, before the transfer."""

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Sums over the targets of `batch`: "loss" (differentiable), and metrics (detached).

        Sums, not means: the caller divides by the targets of the whole global batch, so the result
        does not depend on how that batch is cut into ranks and micro-batches.
        """

    def initial_value(self, name: str, shape: Sequence[int], seed: int) -> Tensor:
        """The initial value (float32, CPU) of the parameter `name`: a pure function.

        Raises:
            UserError: when trained weights to start from are not there, or do not fit.
        """
        return self.surgery.over(self._untrained_value)(name, shape, seed)

    def _untrained_value(self, name: str, shape: Sequence[int], seed: int) -> Tensor:
        owner = name
        while owner:
            owner = owner.rpartition(".")[0]
            module = self.get_submodule(owner)
            if isinstance(module, Transformer):
                return initial_value_of(self, name, shape, seed, module.options)
        return initial_value_of(self, name, shape, seed, self.transformers()[0].options)

    def transformers(self) -> list[Transformer]:
        """The transformers in it, the main one first."""
        return [module for module in self.modules() if isinstance(module, Transformer)]

    def blocks(self) -> list[nn.Module]:
        """The repeated blocks, for compilation."""
        return [block for transformer in self.transformers() for block in transformer.blocks]

    def recompute_blocks(self) -> None:
        """Turn activation checkpointing on."""
        for transformer in self.transformers():
            transformer.recompute_blocks = True


def require_fields(objective: AnyObjective, source: Source, where: str) -> None:
    """Check that the samples of `source` have what the objective reads.

    Raises:
        ConfigError: naming the fields there are and those that are wanted.
    """
    wanted = cast(type[Objective], import_object(implementation(objective))).fields
    # Of every part of a mixture: the first sample that can be read.
    bounds = getattr(source, "bounds", None)
    first = 0
    while first < len(source):
        (sample,), _ = Reader(source).read([Row(first, first)])
        _require(objective, wanted, sample, where)
        first = bounds(first)[1] if bounds is not None else len(source)


def _require(objective: AnyObjective, wanted: Sequence[str], sample: Sample, where: str) -> None:
    if not sample.keys() >= set(wanted):
        found = sample
        raise ConfigError(
            f"{where}: its samples have the fields {', '.join(found)}; objective {objective.kind} reads "
            f"{', '.join(wanted)}. Choose another source or another objective."
        )


def build_objective(objective: AnyObjective, model: AnyModel, surgery: Sequence[AnyEdit] = ()) -> Objective:
    """The objective that `objective` describes, owning the model that `model` describes, after all edits.

    Raises:
        ConfigError: when an edit cannot be made.
    """
    built = cast(Objective, construct(objective, model))
    if not built.follows_width and any(part.options.init.base_dim for part in built.transformers()):
        raise ConfigError(
            "model.init.base_dim: learning rates that hold for every width need a head that follows it; "
            f"that of objective {objective.kind} does not. Leave init.base_dim out."
        )
    built.surgery = Surgery(surgery, open_weights)
    built.surgery.apply(built)
    return built
