"""The objective's mean loss on held-out samples."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from configs.errors import DataError, TrainingError
from data.cache import storage_of
from data.loader import Batch, evaluation_batches
from data.sources import build_source
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
        for batch, is_mine in self.batches(step):
            sums = context.engine.evaluate(batch)
            if is_mine:
                loss += float(sums["loss"])
                targets += context.engine.objective.num_targets(batch)
        (total_loss,), (total_targets,) = context.world.sum_float([loss]), context.world.sum([targets])
        if not total_targets:
            raise TrainingError("data.validation: its samples have nothing to predict. Choose other held-out data.")
        return {"loss": total_loss / total_targets, "targets": total_targets}

    def batches(self, step: int) -> Iterator[tuple[Batch, bool]]:
        """This rank's batches; False: a repetition, which does not count (all ranks evaluate equally often)."""
        batches = evaluation_batches(
            self._source,
            rows=self._options.rows,
            micro_rows=self.context.micro_rows,
            rank=self.context.world.rank,
            world_size=self.context.world.size,
        )
        try:
            for batch, is_mine, bad in batches:
                for sample in bad:
                    print(f"probe at step {step}: bad sample, its neighbour is taken: {sample.error}", file=sys.stderr)
                yield batch, is_mine
        except DataError as error:
            error.is_everywhere = False  # other ranks read other samples
            raise
