"""Contrastive learning of speech: tell what was masked from distractors (Baevski et al. 2020, wav2vec 2.0)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import normalize

from configs.errors import ConfigError
from configs.options import construct
from data.loader import Batch
from model.codebooks import ContrastiveHead, perplexity
from model.embedders.options import WaveformOptions
from model.embedders.waveform import WaveformEmbedder
from model.options import AnyModel, TransformerOptions
from model.transformer import Transformer
from train.objectives.objective import Objective
from train.objectives.options import Wav2Vec2Options


class Wav2Vec2(Objective):
    """Batch: waveform [B, S], length [B], mask [B, T], negatives [B, T, K]. Targets: the masked frames.

    Mask and negatives (numbers of frames of the same row) come with the sample, so they follow from its position
    like every other random choice. N counts the masked frames of all rows; only they are quantised.

    The diversity loss is not a sum over frames: it asks how evenly the frames of a batch use the codebooks. As in
    fairseq and transformers, that batch is the micro-batch of one rank, weighted by its masked frames, so this term
    (alone) depends on batch.micro: a batch of all ranks would need their shares before any of them can go backward.
    """

    fields = ("waveform", "length", "mask", "negatives")

    def __init__(self, options: Wav2Vec2Options, model: TransformerOptions) -> None:
        super().__init__()
        _require_masks(model)
        self._options = options
        self._gumbel_temperature = options.gumbel_temperature
        self.transformer = cast(Transformer, construct(model))
        self.head = ContrastiveHead(options.head, model)

    def set_step(self, step: int, last: int) -> None:
        options = self._options
        self._gumbel_temperature = options.gumbel_temperature * options.gumbel_schedule.scale(step, last)

    def num_targets(self, batch: Batch) -> int:
        return int(batch["mask"].sum())

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Sums over the masked frames.

        Returns:
            "loss"; "contrastive", its first term; "correct", how many targets were ranked first, ties broken at
            random; "shares" [G, V], how often each entry was chosen (in evaluation; else how likely it is).
        """
        options, mask_BT = self._options, batch["mask"]
        embedder = cast(WaveformEmbedder, self.transformer.embedder)
        features_BTC = embedder.features(batch["waveform"])
        hidden_BTD = self.transformer(batch["waveform"], batch["length"], mask_BT=mask_BT, features_BTC=features_BTC).x
        prediction_NP, target_NP, codes_NG, shares_NGV = self.head(
            features_BTC[mask_BT], hidden_BTD[mask_BT], self._gumbel_temperature
        )
        negatives_NK = _among_masked(batch["negatives"], mask_BT)
        # A distractor with the same codes is no other vector.
        is_same_NK = (codes_NG[negatives_NK] == codes_NG[:, None]).all(-1)
        similarity_NN = _cosine(prediction_NP, target_NP)
        positive_N, negative_NK = similarity_NN.diagonal(), similarity_NN.gather(1, negatives_NK)
        negative_NK = negative_NK.masked_fill(is_same_NK, float("-inf"))
        logits_NK = torch.cat((positive_N[:, None], negative_NK), 1) / options.temperature
        contrastive = (logits_NK.logsumexp(1) - logits_NK[:, 0]).sum()
        unused = 1 - perplexity(shares_NGV.mean(0)).sum() / shares_NGV[0].numel()
        is_first_N = (positive_N[:, None] > negative_NK).all(1)
        return {
            "loss": contrastive + options.diversity_weight * unused * len(prediction_NP),
            "contrastive": contrastive.detach(),
            "correct": (is_first_N / (1 + is_same_NK.sum(1))).sum(),
            "shares": shares_NGV.detach().sum(0),
        }


def _among_masked(negatives_BTK: Tensor, mask_BT: Tensor) -> Tensor:
    """Numbers of frames in their rows -> numbers among the masked frames of all rows: [N, K]."""
    number_BT = (mask_BT.flatten().cumsum(0) - 1).view_as(mask_BT)
    return number_BT.gather(1, negatives_BTK.flatten(1)).view_as(negatives_BTK)[mask_BT]


def _cosine(x_NP: Tensor, y_NP: Tensor) -> Tensor:
    """Cosines of all pairs [N, N], in float32 also under autocast: they are divided by a small temperature."""
    exact = torch.promote_types(x_NP.dtype, torch.float32)
    with torch.autocast(x_NP.device.type, enabled=False):
        return normalize(x_NP.to(exact), dim=-1) @ normalize(y_NP.to(exact), dim=-1).T


def _require_masks(model: AnyModel) -> None:
    """Check that the model can be trained so.

    Raises:
        ConfigError: when it is another one, reads something else, or has no vector for masked frames.
    """
    if not isinstance(model, TransformerOptions):
        raise ConfigError(f"objective wav2vec2: trains one transformer; model.kind is {model.kind}.")
    if not isinstance(model.embedder, WaveformOptions):
        raise ConfigError(f"objective wav2vec2: reads waveforms; model.embedder.kind is {model.embedder.kind}.")
    if not model.embedder.mask_token:
        raise ConfigError("objective wav2vec2: masks frames; set model.embedder.mask_token: true.")
