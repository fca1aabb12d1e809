"""The interface of edits, and a list of them in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from torch import Tensor, nn

from configs.errors import ConfigError
from configs.options import construct
from model.surgery.options import AnyEdit
from model.surgery.weights import WeightSource, open_files

InitialValue = Callable[[str, Sequence[int], int], Tensor]
"(name, shape, seed) -> the initial value of a parameter, float32 on the CPU: a pure function."

OpenWeights = Callable[[Path], WeightSource]
"What a path of a recipe holds."


class Edit(ABC):
    """One edit. Built from its options, the key it stands under, and what opens paths."""

    def __init__(self, where: str) -> None:
        self.where = where
        'For messages: "surgery[1]".'
        self.selected: list[str] = []
        "Names of what it was applied to: parameters, or layers."

    @abstractmethod
    def apply(self, module: nn.Module) -> None:
        """Change the module, or remember what of it to change in its values.

        Values are not there yet: parameters may be on the meta device, or cut up by ZeRO-3.
        """

    def over(self, below: InitialValue) -> InitialValue:
        """Initial values after this edit, given those before it."""
        return below

    def report(self) -> str | None:
        """What it will do to initial values, in words; called where there is no checkpoint to start from.

        Raises:
            ConfigError: when it cannot do it.
        """
        return None

    def close(self) -> None:
        """Let go of files; initial values are not asked for any more."""
        return


class Surgery:
    """All edits of one model."""

    def __init__(self, edits: Sequence[AnyEdit] = (), open_weights: OpenWeights = open_files) -> None:
        self.edits = [
            cast(Edit, construct(options, f"surgery[{number}]", open_weights)) for number, options in enumerate(edits)
        ]

    def apply(self, module: nn.Module) -> None:
        """Make every edit, in order.

        Raises:
            ConfigError: when nothing is left to train, or an edit cannot be made.
        """
        for edit in self.edits:
            edit.apply(module)
        if self.edits and not any(parameter.requires_grad for parameter in module.parameters()):
            raise ConfigError("surgery: everything is frozen; unfreeze something, or add adapters (kind: lora).")

    def over(self, below: InitialValue) -> InitialValue:
        """Initial values after all edits, given those of the model itself."""
        for edit in self.edits:
            below = edit.over(below)
        return below

    def reports(self) -> list[str]:
        """What the edits will do to initial values, in words.

        Raises:
            ConfigError: when one of them cannot.
        """
        return [report for edit in self.edits if (report := edit.report()) is not None]

    def close(self) -> None:
        """Let go of files."""
        for edit in self.edits:
            edit.close()
