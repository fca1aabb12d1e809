"""What is trained."""

from __future__ import annotations

from torch import nn

from model.parameters import kinds_of
from model.selectors import select
from model.surgery.edit import Edit, OpenWeights
from model.surgery.options import FreezeOptions, UnfreezeOptions


class Freeze(Edit):
    """Selected parameters are not trained."""

    _trains = False

    def __init__(self, options: FreezeOptions | UnfreezeOptions, where: str, open_weights: OpenWeights) -> None:
        super().__init__(where)
        self._select = options.select

    def apply(self, module: nn.Module) -> None:
        parameters = dict(module.named_parameters())
        self.selected = select(self._select, parameters, f"{self.where}.select", kinds_of(module))
        for name in self.selected:
            parameters[name].requires_grad_(self._trains)


class Unfreeze(Freeze):
    """Selected parameters are trained."""

    _trains = True
