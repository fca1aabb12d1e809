from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from configs.errors import ConfigError
from model.options import ContrastiveHeadOptions, TransformerOptions
from train.objectives.options import Wav2Vec2Options
from train.objectives.wav2vec2 import Wav2Vec2
from train.probes.contrastive import ContrastiveProbe
from train.probes.options import ContrastiveProbeOptions
from train.probes.probe import ProbeContext
from train.recipe import Recipe
from train.world import World

FIXED = {"data": {"train": {"kind": "copy", "length": 8}, "validation": {"kind": "copy", "length": 8}}}
"Sources that need no files; what they hold is not read here."


def batch(masked: int) -> dict[str, Tensor]:
    return {"mask": torch.arange(6)[None] < masked, "negatives": torch.zeros(1, 6, 4, dtype=torch.int64)}


def test_figures_are_means_over_the_frames_that_count(
    recipe_of: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = TransformerOptions.model_validate(
        {
            "embedder": {"kind": "waveform", "widths": [4], "kernels": [4], "strides": [2], "mask_token": True},
            "dim": 8,
            "num_layers": 1,
            "mixer": {"num_heads": 2},
        }
    )
    head = ContrastiveHeadOptions(num_codebooks=2, num_entries=4, code_dim=4, dim=4)
    objective = Wav2Vec2(Wav2Vec2Options(head=head), model)
    sums = iter(
        [
            {"loss": 6.0, "correct": 1.5, "shares": [[2, 0, 0, 0], [1, 1, 0, 0]]},
            {"loss": 9.0, "correct": 0.5, "shares": [[0, 2, 0, 0], [1, 1, 0, 0]]},
            {"loss": 99.0, "correct": 9.0, "shares": [[9, 9, 9, 9], [9, 9, 9, 9]]},
        ]
    )
    engine: Any = SimpleNamespace(
        objective=objective, evaluate=lambda _: {name: torch.tensor(value) for name, value in next(sums).items()}
    )
    probe = ContrastiveProbe(ContrastiveProbeOptions(), ProbeContext(recipe_of(**FIXED), engine, 1, World()))
    # The last batch is a repetition.
    monkeypatch.setattr(probe, "batches", lambda: iter([(batch(2), True), (batch(2), True), (batch(5), False)]))
    figures = probe.measure(0)
    assert figures.pop("perplexity") == pytest.approx(2.0)
    assert figures == {"accuracy": 0.5, "chance": 1 / 5, "entries_used": 0.5, "loss": 3.75, "targets": 4}


def test_other_objectives_are_refused(recipe_of: Callable[..., Recipe]) -> None:
    context = ProbeContext(recipe_of(**FIXED), cast(Any, SimpleNamespace(objective=None)), 1, World())
    with pytest.raises(ConfigError, match="objective causal_lm has no distractors"):
        ContrastiveProbe(ContrastiveProbeOptions(), context)
