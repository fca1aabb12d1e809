"""The objective's mean loss on held-out samples."""

from __future__ import annotations

from collections.abc import Iterator

from configs.errors import TrainingError
from data.cache import storage_of
from data.loader import Batch
from data.sources import build_source
from train.probes.held_out import held_out_batches
from train.probes.options import LossProbeOptions
from train.probes.probe import Figures, ProbeContext


class LossProbe:
    """`rows` samples spread evenly over data.validation, each seen by exactly one rank."""

    def __init__(self, options: LossProbeOptions, context: ProbeContext) -> None:
        assert context.recipe.data.validation is not None
        self.context = context
        self._options = options
        self._source = build_source(context.recipe.data.validation, storage_of(context.recipe.data.cache))

    def measure(self, step: int) -> Figures:
        """Mean loss per target (nats), and the number of targets."""
        context = self.context
        loss, targets = 0.0, 0
        for batch, is_mine in self.batches():
            sums = context.engine.evaluate(batch)
            if is_mine:
                loss += float(sums["loss"])
                targets += context.engine.objective.num_targets(batch)
        (total_loss,), (total_targets,) = context.world.sum_float([loss]), context.world.sum([targets])
        if not total_targets:
            raise TrainingError("data.validation: its samples have nothing to predict. Choose other held-out data.")
        return {"loss": total_loss / total_targets, "targets": total_targets}

    def batches(self) -> Iterator[tuple[Batch, bool]]:
        """This rank's batches, and whether they count (`held_out_batches`)."""
        return held_out_batches(self._source, self._options.rows, self.context)
