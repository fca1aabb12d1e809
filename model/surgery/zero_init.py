"""Parameters that start from values of their own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.parameters import kinds_of
from model.selectors import select
from model.surgery.edit import Edit, InitialValue, OpenWeights
from model.surgery.options import ZeroInitOptions


class ZeroInit(Edit):
    """Selected parameters start at zero."""

    def __init__(self, options: ZeroInitOptions, where: str, open_weights: OpenWeights) -> None:
        super().__init__(where)
        self._select = options.select

    def apply(self, module: nn.Module) -> None:
        names = [name for name, _ in module.named_parameters()]
        self.selected = select(self._select, names, f"{self.where}.select", kinds_of(module))

    def over(self, below: InitialValue) -> InitialValue:
        names = frozenset(self.selected)

        def value(name: str, shape: Sequence[int], seed: int) -> Tensor:
            return torch.zeros(*shape) if name in names else below(name, shape, seed)

        return value
