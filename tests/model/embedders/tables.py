"""Small tables, and small models that read them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.options import TransformerOptions
from model.transformer import Transformer

KINDS = ("table_rows", "table_cells")


@dataclass(frozen=True)
class Table:
    """The fields of a batch."""

    features: Tensor
    label: Tensor
    num_features: Tensor
    num_context: Tensor

    def rows(self, order: Tensor) -> Table:
        """The rows in another order."""
        return replace(self, features=self.features[:, order], label=self.label[:, order])


def table_of(rows: int = 9, columns: int = 4, known: int = 5, classes: int = 3, seed: int = 0) -> Table:
    """One table of normal features on scales of their own, and uniform labels."""
    generator = torch.Generator().manual_seed(seed)
    scales = 10.0 ** torch.arange(-1, columns - 1)
    features = torch.randn(1, rows, columns, generator=generator, dtype=torch.float64) * scales + 3
    label = torch.randint(0, classes, (1, rows), generator=generator)
    return Table(features, label, torch.tensor([columns]), torch.tensor([known]))


def transformer_of(kind: str) -> Transformer:
    """Two layers in float64, far from their initial weights."""
    axes = [{"mixer": {"axis": 1}}, {"mixer": {"axis": 0}}]
    of_kind = {
        "table_rows": {"mixer": {"num_heads": 2}},
        "table_cells": {"mixer": {"kind": "axial", "num_heads": 2, "axis": 0}, "plan": axes},
    }[kind]
    tree = {
        "embedder": {"kind": kind, "max_features": 6, "max_classes": 4},
        "dim": 16,
        "num_layers": 4,
        "hidden_dim": 24,
        "positions": "none",
        "visibility": "context",
        **of_kind,
    }
    model = Transformer(TransformerOptions.model_validate(tree)).double()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.4, generator=generator)
    return model


def of_rows(model: Transformer, table: Table) -> Tensor:
    """What the model makes of every row [B, R, D]."""
    with torch.no_grad():
        hidden = model(table.features, table.label, table.num_features, table.num_context)
    return hidden.x if hidden.grid is None else hidden.x.unflatten(1, hidden.grid)[:, :, -1]
