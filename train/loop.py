"""The loop: batch, forward and backward, step, log, probe, save."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

from configs.errors import DataError, TrainingError
from configs.seeds import derive
from data.loader import StepBatch, TrainLoader
from train.bad_samples import BadSampleLog
from train.checkpoint import Position
from train.efficiency import Efficiency
from train.engines.engine import Engine
from train.interruption import Interrupted, Interruption
from train.metrics import MetricsLog, Row
from train.probes.options import AnyProbe
from train.probes.probe import Probe, ProbeGivenUp
from train.profile import Profile
from train.recipe import Recipe
from train.saved_bytes import SavedBytes
from train.timing import StepClock
from train.watchdog import Watchdog
from train.world import World


@dataclass(frozen=True)
class Loop:
    """Everything a run needs once it is assembled."""

    recipe: Recipe
    world: World
    engine: Engine
    loader: TrainLoader
    probes: dict[str, tuple[AnyProbe, Probe]]
    save: Callable[[Position], None]
    bad_samples: BadSampleLog
    interruption: Interruption
    watchdog: Watchdog
    profile: Profile
    saved_bytes: SavedBytes
    efficiency: Efficiency
    log: MetricsLog | None
    "On rank 0."

    def run(self, position: Position) -> Position:
        """Train from `position` to the last step of the recipe.

        Raises:
            Interrupted: when any rank was asked to stop; the step reached is saved.
        """
        recipe, last = self.recipe, self.recipe.train.steps
        # What an interruption left out; of a fresh run, what is measured before the first step.
        if not self._measure(position.step, leave_out=self._measured_at(position.step)):
            raise Interrupted(self.interruption.reason, position.step)
        clock = StepClock(self.world, self.engine.blocked_s)
        num_bad = 0
        for step in range(position.step + 1, last + 1):
            self.watchdog.step(step)
            lr = recipe.optimizer.lr * recipe.optimizer.schedule.scale(step - 1, last)
            self.engine.objective.set_step(step - 1, last)
            with self.profile.step(step):
                batch = clock.waiting_for_data(self._next_batch)
                self.bad_samples.add(step, batch.bad)
                counts = [self._count_targets(batch), batch.digest, len(batch.bad), int(self.interruption.is_asked)]
                targets, digest, bad, num_asked = clock.waiting_for_ranks(functools.partial(self.world.sum, counts))
                if targets == 0:
                    raise TrainingError(f"step {step}: the global batch has nothing to predict; look at data.train.")
                # Dropout and the like draw from torch's generator: its state follows from the step, not from the past.
                self.world.seed_generators(derive(recipe.seed, "step", step, self.world.rank))
                with self.saved_bytes.step(step):
                    loss_sum = self.engine.forward_backward(batch.micro_batches, targets)
                grad_norm = self.engine.step(lr)
            position = Position(step, position.samples + recipe.batch.global_, position.tokens + targets)
            clock.add(targets)
            num_bad += bad
            if self.log is not None:
                self.log.advance()

            is_saved = step % recipe.checkpoint.every == 0 or step == last
            if step % recipe.log.every == 0 or is_saved:
                loss = self.world.sum_float([float(loss_sum)])[0] / targets
                norm = float(grad_norm)
                _require_finite(step, loss, norm)
                if step % recipe.log.every == 0 or step == last:
                    figures = clock.row()
                    figures |= self.efficiency.row(figures["step_s"]) | {"bad_samples": num_bad}
                    figures |= self.saved_bytes.row()
                    self._log(position, {"loss": loss, "lr": lr, "grad_norm": norm}, figures, digest)
                    num_bad = 0
            self.watchdog.rest()
            with clock.aside("probe"):
                is_asked = num_asked > 0 or not self._measure(step)
            if is_saved or is_asked:
                with clock.aside("checkpoint"):
                    self.save(position)
                if is_asked or self.world.any(self.interruption.is_asked):
                    raise Interrupted(self.interruption.reason, step)
        return position

    def _next_batch(self) -> StepBatch:
        try:
            return next(self.loader)
        except DataError as error:
            error.is_everywhere = False
            raise

    def _count_targets(self, batch: StepBatch) -> int:
        return sum(self.engine.objective.num_targets(micro) for micro in batch.micro_batches)

    def _log(self, position: Position, learned: Row, figures: Row, digest: int) -> None:
        if self.log is not None:
            self.log.step(
                {"step": position.step}
                | learned
                | {"samples": position.samples, "tokens": position.tokens}
                | figures
                | {"data_digest": f"{digest:016x}"}
            )

    def _measure(self, step: int, *, leave_out: Collection[str] = ()) -> bool:
        """Run the probes that are due; False when one was given up because an end was asked for."""
        for name, (options, probe) in self.probes.items():
            if options.is_due(step, self.recipe.train.steps) and name not in leave_out:
                try:
                    figures = probe.measure(step)
                except ProbeGivenUp:
                    return False
                if self.log is not None:
                    self.log.probe(name, step, figures)
        return True

    def _measured_at(self, step: int) -> set[str]:
        """Probes whose figures at this step are in the log, which rank 0 knows."""
        found = self.log.probes_at(step) if self.log is not None else set()
        flags = self.world.sum([int(name in found) for name in self.probes]) if self.probes else []
        return {name for name, flag in zip(self.probes, flags, strict=True) if flag}


def _require_finite(step: int, loss: float, grad_norm: float) -> None:
    """Stop before weights that are lost are logged or saved."""
    if not (math.isfinite(loss) and math.isfinite(grad_norm)):
        raise TrainingError(
            f"step {step}: the loss is {loss} and the gradient norm {grad_norm}: training has diverged. Checkpoints "
            "are from before. Start again in another run folder (run=...) with a lower optimizer.lr or "
            "train.clip_norm, or look at data.train around this step."
        )
