"""How well masked frames are told from distractors, and how much of the codebooks is in use."""

from __future__ import annotations

import torch

from configs.errors import ConfigError
from model.codebooks import perplexity
from train.objectives.wav2vec2 import Wav2Vec2
from train.probes.loss import LossProbe
from train.probes.options import ContrastiveProbeOptions
from train.probes.probe import Figures, ProbeContext


class ContrastiveProbe(LossProbe):
    """The masked frames of held-out samples, quantised to the best entry."""

    def __init__(self, options: ContrastiveProbeOptions, context: ProbeContext) -> None:
        if not isinstance(context.engine.objective, Wav2Vec2):
            raise ConfigError(f"probe contrastive: objective {context.recipe.objective.kind} has no distractors.")
        super().__init__(options, context)

    def measure(self, step: int) -> Figures:
        """The figures.

        Returns:
            "accuracy": share of frames whose target is ranked before all distractors, ties broken at random (so a
            codebook of which one entry is used scores no more than chance); "chance": 1 / (K + 1); "perplexity":
            entries in use, mean over the codebooks; "entries_used": share of the entries chosen at least once;
            "loss" (nats), and "targets", the number of frames.
        """
        context = self.context
        loss, correct, targets, num_negatives, shares_GV = 0.0, 0.0, 0, 0, torch.zeros(())
        for batch, is_mine in self.batches():
            sums = context.engine.evaluate(batch)
            num_negatives = batch["negatives"].shape[-1]
            shares = sums["shares"].cpu().double()
            shares_GV = shares_GV + (shares if is_mine else torch.zeros_like(shares))
            if is_mine:
                loss += float(sums["loss"])
                correct += float(sums["correct"])
                targets += context.engine.objective.num_targets(batch)
        loss, correct = context.world.sum_float([loss, correct])
        (targets,) = context.world.sum([targets])
        shares_GV = torch.tensor(context.world.sum_float(shares_GV.flatten().tolist())).view_as(shares_GV)
        return {
            "accuracy": correct / targets,
            "chance": 1 / (num_negatives + 1),
            "perplexity": float(perplexity(shares_GV / targets).mean()),
            "entries_used": float((shares_GV > 0).double().mean()),
            "loss": loss / targets,
            "targets": targets,
        }
