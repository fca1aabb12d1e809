"""The recipes of configs/, small enough to be run for real, and models of every kind with a batch each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from configs.options import construct
from data.loader import Batch
from model.encoder_decoder import EncoderDecoder
from model.options import EncoderDecoderOptions, TransformerOptions, TwoTowerOptions
from model.surgery.options import AnyEdit, FreezeOptions, LoRAOptions
from model.two_tower import TwoTower
from tests.conftest import ROOT
from train.objectives.objective import Objective, build_objective
from train.objectives.options import CausalLMOptions, PFNOptions
from train.recipe import Recipe, load_recipe

_CROPS = (
    "data.train.transforms=[{kind: crop_audio, samples: 16000}, {kind: normalize_audio}, "
    "{kind: span_mask, p: 0.065, span: 10, kernels: [10, 4, 4, 4], strides: [5, 4, 4, 2]}, "
    "{kind: negatives, count: 50}, {kind: keep, fields: [waveform, length, mask, negatives]}]"
)
"Their recipe cuts out seconds, and nothing but the shards tells the rate."

OVERRIDES: dict[str, list[str]] = {
    "quickstart.yaml": [],
    "text/gpt2_124m.yaml": [
        *("batch.micro=4", "data.train.length=256", "data.validation.length=256"),
        *("model.num_layers=2", "model.dim=192", "model.mixer.num_heads=6", "model.embedder.vocab_size=1024"),
    ],
    "image/mae_mnist.yaml": [],
    "audio/wav2vec2_asterisk.yaml": [_CROPS],
    "tabular/pfn.yaml": [],
}
"What makes them quick to run on a CPU, where they are not."

PATHS = [
    str(path.relative_to(ROOT / "configs"))
    for path in sorted((ROOT / "configs").rglob("*.yaml"))
    if path.parent.name != "papers"
]

IN_INT8: dict[str, list[str]] = {
    "quickstart.yaml": ["precision=int8"],
    "text/gpt2_124m.yaml": ["precision=int8", "model.feed_forward=gelu"],
    "image/mae_mnist.yaml": ["precision=int8"],
    "tabular/pfn.yaml": ["precision=int8"],
}
"What has them compute in 8 bits, where they can."


def recipe_at(path: str, *overrides: str) -> Recipe:
    """A recipe of configs/, small."""
    nowhere = [f"data.{split}.shards=nowhere.tar" for split in ("train", "validation") if path != "tabular/pfn.yaml"]
    return load_recipe(ROOT / "configs" / path, [*nowhere, *OVERRIDES[path], *overrides])


class Translating(Objective):
    """The target's tokens from those before them, and from the source."""

    fields: ClassVar[tuple[str, ...]] = ("inputs", "targets")

    def __init__(self, options: EncoderDecoderOptions) -> None:
        super().__init__()
        self.transformer = cast(EncoderDecoder, construct(options))

    def num_targets(self, batch: Batch) -> int:
        return batch["targets"][:, 1:].numel()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        targets = batch["targets"]
        hidden = self.transformer((batch["inputs"],), (targets[:, :-1],))
        logits_BTV = self.transformer.decoder.embedder.tokens(hidden.x, as_head=True)
        return {"loss": cross_entropy(logits_BTV.flatten(0, 1), targets[:, 1:].flatten(), reduction="sum")}


class Matching(Objective):
    """Which text belongs to which image."""

    fields: ClassVar[tuple[str, ...]] = ("image", "tokens")

    def __init__(self, options: TwoTowerOptions) -> None:
        super().__init__()
        self.model = cast(TwoTower, construct(options))

    def num_targets(self, batch: Batch) -> int:
        return len(batch["image"])

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        scores_BB = self.model(batch["image"], batch["tokens"])
        return {"loss": cross_entropy(scores_BB, torch.arange(len(scores_BB)), reduction="sum")}


SIDE: dict[str, Any] = {
    "embedder": {"kind": "text", "vocab_size": 101, "max_length": 64},
    "dim": 32,
    "num_layers": 2,
    "mixer": {"kind": "attention", "num_heads": 4},
    "backend": "sdpa",
}
PICTURES: dict[str, Any] = SIDE | {
    "embedder": {"kind": "patches", "image_size": 32, "patch_size": 8},
    "positions": "learned",
    "visibility": "bidirectional",
}
CELLS: dict[str, Any] = SIDE | {
    "embedder": {"kind": "table_cells", "max_features": 6, "max_classes": 4},
    "positions": "none",
    "visibility": "context",
    "plan": [
        {"mixer": {"kind": "axial", "axis": 1, "num_heads": 4}},
        {"mixer": {"kind": "axial", "axis": 0, "num_heads": 4}},
    ],
}


def _text(*edits: AnyEdit, tied_head: bool = True, **changes: Any) -> Callable[[], Objective]:
    options = CausalLMOptions(tied_head=tied_head)
    return lambda: build_objective(options, TransformerOptions.model_validate(SIDE | changes), edits)


def _pairs() -> Objective:
    sides = {"encoder": SIDE | {"visibility": "bidirectional"}, "decoder": SIDE | {"cross": True}}
    return Translating(EncoderDecoderOptions.model_validate(sides | {"shared_embedding": True}))


def _towers() -> Objective:
    return Matching(TwoTowerOptions.model_validate({"image": PICTURES, "text": SIDE, "width": 24}))


def _cells() -> Objective:
    return build_objective(PFNOptions(), TransformerOptions.model_validate(CELLS))


def _grouped(kv_heads: int) -> dict[str, Any]:
    return {"kind": "attention", "num_heads": 4, "num_kv_heads": kv_heads}


BUILDERS: dict[str, Callable[[], Objective]] = {
    "text": _text(),
    "head of its own": _text(tied_head=False),
    "grouped queries": _text(mixer=_grouped(2), feed_forward="swiglu"),
    "narrow heads": _text(mixer={"kind": "attention", "num_heads": 4, "head_dim": 16}, feed_forward="relu"),
    "window": _text(mixer={"kind": "attention", "num_heads": 4, "window": 7}),
    "parallel": _text(parallel=True, feed_forward="gelu"),
    "post-norm with biases": _text(norm_place="post", norm="layer", bias=True, positions="learned"),
    "loop": _text(plan=[{"repeat": 1}, {"repeat": 1, "times": 3}]),
    "frozen": _text(FreezeOptions(select=["transformer.embedder.**", "transformer.blocks.0.**"])),
    "LoRA": _text(LoRAOptions(select=["**.query", "**.value"], rank=4, alpha=8)),
    "encoder-decoder": _pairs,
    "two towers": _towers,
    "cells": _cells,
}


def _tables(rows: int) -> Batch:
    return {
        "features": torch.randn(rows, 12, 6),
        "label": torch.randint(0, 4, (rows, 12)),
        "num_features": torch.tensor([6, 4] * (rows // 2)),
        "num_classes": torch.full((rows,), 4),
        "num_context": torch.tensor([5, 8] * (rows // 2)),
    }


def batch_for(name: str, rows: int = 4) -> Batch:
    """Random rows for the builder `name`."""
    torch.manual_seed(0)
    tokens = torch.randint(0, 101, (rows, 49))
    if name == "encoder-decoder":
        return {"inputs": tokens[:, :40], "targets": tokens[:, :25]}
    if name == "two towers":
        return {"image": torch.randn(rows, 3, 32, 32), "tokens": tokens}
    return _tables(rows) if name == "cells" else {"tokens": tokens, "segments": torch.zeros_like(tokens)}


def real(build: Callable[[], Objective]) -> Objective:
    """The objective with small random weights; what starts at zero too."""
    objective = build()
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.normal_(0.0, 0.02)
    return objective
