"""Causal language modelling: predict each token from those before it in its document."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from configs.errors import ConfigError, TrainingError
from configs.options import construct
from data.loader import Batch
from model.cross_entropy import IGNORED
from model.embedders.options import TextOptions
from model.heads import LMHead
from model.options import AnyModel, LMHeadOptions, TransformerOptions
from model.transformer import Transformer
from train.objectives.objective import Objective
from train.objectives.options import CausalLMOptions


class CausalLM(Objective):
    """Batch: tokens [B, T + 1], segments [B, T + 1]. Targets: every next token of the same document.

    Where documents are joined, the first token of the next one is a target too. Padding (segment below 0)
    never is one, and nothing is predicted from it.
    """

    fields = ("tokens", "segments")
    follows_width = True

    def __init__(self, options: CausalLMOptions, model: TransformerOptions) -> None:
        super().__init__()
        self._vocab_size = _text(model).vocab_size
        self._model_options = model
        self._joined = model.documents == "joined"
        self.transformer = cast(Transformer, construct(model))
        self.head = LMHead(head_of(options, model), model.dim, self._vocab_size)

    def num_targets(self, batch: Batch) -> int:
        largest, entries = int(batch["tokens"].max()), self._vocab_size
        if largest >= entries:  # on a GPU this would end in an assertion far from its cause
            raise TrainingError(
                f"data: token {largest} is not in the model's vocabulary (model.embedder.vocab_size={entries})."
            )
        return int(self._is_target(batch["segments"]).sum())

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        tokens, segments = batch["tokens"], batch["segments"]
        hidden_BTD = self.transformer(tokens[:, :-1], segments[:, :-1]).x
        return {"loss": self.head(hidden_BTD, self.transformer.embedder.tokens, self.targets(batch))}

    def targets(self, batch: Batch) -> Tensor:
        """The token that each but the last predicts [B, T]; IGNORED where there is none."""
        return torch.where(self._is_target(batch["segments"]), batch["tokens"][:, 1:], IGNORED)

    def _is_target(self, segments: Tensor) -> Tensor:
        """Whether each token but the first is predicted: bool [B, T]."""
        before, after = segments[:, :-1], segments[:, 1:]
        is_text = (before >= 0) & (after >= 0)
        return is_text if self._joined else is_text & (before == after)

    def logits(self, tokens_BT: Tensor, segments_BT: Tensor | None = None) -> Tensor:
        """Next-token logits [B, T, V]."""
        return self.predict(self.transformer(tokens_BT, segments_BT).x)

    def predict(self, hidden_BTD: Tensor) -> Tensor:
        """What the head makes of hidden states: next-token logits [B, T, V]."""
        return self.head(hidden_BTD, self.transformer.embedder.tokens)  # type: ignore[no-any-return]


def head_of(options: CausalLMOptions, model: TransformerOptions) -> LMHeadOptions:
    """The head that is trained with `model`."""
    return LMHeadOptions(tied=options.tied_head, scale=1 / model.width_multiplier)


def _text(model: AnyModel) -> TextOptions:
    """The embedder of a model that predicts tokens.

    Raises:
        ConfigError: when the model reads something else, or sees what it is to predict.
    """
    if not isinstance(model, TransformerOptions):
        raise ConfigError(f"objective causal_lm: trains one transformer; model.kind is {model.kind}.")
    if not isinstance(model.embedder, TextOptions) or model.embedding_dim is not None:
        raise ConfigError(f"objective causal_lm: predicts tokens; model.embedder is {model.embedder.kind}.")
    if not model.is_causal:
        raise ConfigError(
            f"objective causal_lm: model.visibility is {model.visibility}, so a token would see the one it predicts; "
            "set model.visibility: causal."
        )
    return model.embedder


def longest_of(model: AnyModel) -> int:
    """The longest text that a model takes (tokens)."""
    return _text(model).max_length
