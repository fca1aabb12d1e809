"""Small models of tables."""

from __future__ import annotations

from typing import Any

import torch

from model.options import TransformerOptions
from train.objectives.options import PFNOptions
from train.objectives.pfn import PFN

TREES: dict[str, dict[str, Any]] = {
    "table_rows": {"mixer": {"num_heads": 2}},
    "table_cells": {
        "mixer": {"kind": "axial", "num_heads": 2, "axis": 0},
        "plan": [{"mixer": {"axis": 1}}, {"mixer": {"axis": 0}}],
    },
}


def pfn_of(kind: str = "table_rows", **changes: Any) -> PFN:
    """Two layers in float64, in evaluation mode, far from their initial weights."""
    tree = {
        "embedder": {"kind": kind, "max_features": 5, "max_classes": 4},
        "dim": 16,
        "num_layers": 2,
        "hidden_dim": 24,
        "positions": "none",
        "visibility": "context",
        **TREES[kind],
        **changes,
    }
    model = PFN(PFNOptions(), TransformerOptions.model_validate(tree)).double().eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.4, generator=generator)
    return model
