"""Causal language modelling: predict each token from those before it in its document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from configs.errors import TrainingError
from configs.options import construct
from data.loader import Batch
from model.initialisation import initial_value
from model.options import TransformerOptions
from model.transformer import Transformer
from train.objectives.objective import Objective
from train.objectives.options import CausalLMOptions

_IGNORED = -100


class CausalLM(Objective):
    """Batch: tokens [B, T + 1], segments [B, T + 1]. Targets: every next token of the same document.

    Where documents are joined, the first token of the next one is a target too. Padding (segment below 0)
    never is one, and nothing is predicted from it.
    """

    fields = ("tokens", "segments")

    def __init__(self, options: CausalLMOptions, model: TransformerOptions) -> None:
        super().__init__()
        self._model_options = model
        self._joined = model.documents == "joined"
        self.transformer = cast(Transformer, construct(model))
        self.head = None if options.tied_head else nn.Linear(model.dim, model.vocab_size, bias=False)

    def num_targets(self, batch: Batch) -> int:
        largest, entries = int(batch["tokens"].max()), self._model_options.vocab_size
        if largest >= entries:  # on a GPU this would end in an assertion far from its cause
            raise TrainingError(f"data: token {largest} is not in the model's vocabulary (model.vocab_size={entries}).")
        return int(self._is_target(batch["segments"]).sum())

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        tokens, segments = batch["tokens"], batch["segments"]
        targets_BT = torch.where(self._is_target(segments), tokens[:, 1:], _IGNORED)
        logits_BTV = self.logits(tokens[:, :-1], segments[:, :-1])
        loss = cross_entropy(
            logits_BTV.flatten(0, 1).float(), targets_BT.flatten(), ignore_index=_IGNORED, reduction="sum"
        )
        return {"loss": loss}

    def _is_target(self, segments: Tensor) -> Tensor:
        """Whether each token but the first is predicted: bool [B, T]."""
        before, after = segments[:, :-1], segments[:, 1:]
        is_text = (before >= 0) & (after >= 0)
        return is_text if self._joined else is_text & (before == after)

    def logits(self, tokens_BT: Tensor, segments_BT: Tensor | None = None) -> Tensor:
        """Next-token logits [B, T, V]."""
        hidden_BTD = self.transformer(tokens_BT, segments_BT)
        if self.head is not None:
            return self.head(hidden_BTD)  # type: ignore[no-any-return]
        return self.transformer.embedding(hidden_BTD, as_head=True)  # type: ignore[no-any-return]

    def initial_value(self, name: str, shape: Sequence[int], seed: int) -> Tensor:
        return initial_value(name, shape, seed, self._model_options)

    def blocks(self) -> nn.ModuleList:
        return self.transformer.blocks

    def recompute_blocks(self) -> None:
        self.transformer.recompute_blocks = True
