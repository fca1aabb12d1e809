"""Soft prompts: learned vectors in front of every document (Lester et al. 2021).

The documents of a packed row share them, so prompts see only each other, also where the text sees what comes later.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from configs.errors import ConfigError
from model.surgery.edit import Edit, OpenWeights
from model.surgery.options import PromptsOptions
from model.transformer import Transformer


class SoftPrompts(Edit):
    """The main transformer gets prompts. They start as rows of the model's initial scheme."""

    def __init__(self, options: PromptsOptions, where: str, open_weights: OpenWeights) -> None:
        super().__init__(where)
        self._length = options.length

    def apply(self, module: nn.Module) -> None:
        transformer = next(part for part in module.modules() if isinstance(part, Transformer))
        if not all(block.mixer.takes_backend for block in transformer.blocks):  # type: ignore[union-attr]
            # A recurrence starts anew with every document of a row; only attention can look at what is before them all.
            raise ConfigError(f"{self.where}: prompts need attention in every block; model.plan has other mixers.")
        if any(block.options.cross for block in transformer.blocks):
            raise ConfigError(f"{self.where}: prompts are not for a model with cross-attention.")
        self.selected = ["prompts.table.weight"]
        transformer.prompts = Prompts(self._length, transformer.options.dim)


class Prompts(nn.Module):
    """[B, T, D] -> [B, P + T, D]."""

    def __init__(self, length: int, dim: int) -> None:
        super().__init__()
        self.table = nn.Embedding(length, dim)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Put the prompts in front."""
        prompts_PD = self.table(torch.arange(self.table.num_embeddings, device=x_BTD.device))
        return torch.cat((prompts_PD.to(x_BTD.dtype).expand(len(x_BTD), -1, -1), x_BTD), dim=1)
