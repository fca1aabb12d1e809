"""Schedules: what follows the step, as pure functions of it. Nothing here has state to save.

`scale(step, total)` is a factor for the peak value; `step` counts the optimizer steps already taken
and `total` is `train.steps`, used where a schedule does not name its own horizon.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from configs.options import Kind, Part


class _WarmUp(Part):
    warmup: int = Field(default=0, ge=0)
    "Steps of linear warm-up."

    def _warm(self, step: int) -> float:
        return (step + 1) / self.warmup if step < self.warmup else 1.0


class ConstantSchedule(_WarmUp):
    """Warm-up, then constant."""

    kind: Literal["constant"] = "constant"

    def scale(self, step: int, total: int) -> float:
        """The factor at `step`."""
        return self._warm(step)


class CosineSchedule(_WarmUp):
    """Warm-up, then half a cosine (Loshchilov and Hutter 2017) down to `final`, then constant."""

    kind: Literal["cosine"] = "cosine"
    steps: int | None = Field(default=None, gt=0)
    "Step at which `final` is reached. Default: train.steps (which then changes the whole curve)."
    final: float = Field(default=0.1, ge=0, le=1)
    "Last value, relative to the peak."

    def scale(self, step: int, total: int) -> float:
        """The factor at `step`."""
        horizon = max(1, (self.steps or total) - self.warmup)
        progress = min(1.0, max(0, step - self.warmup) / horizon)
        return self._warm(step) * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress)))


class WSDSchedule(_WarmUp):
    """Warm-up, stable, decay (Hu et al. 2024, MiniCPM): constant until the last `decay` steps."""

    kind: Literal["wsd"] = "wsd"
    decay: int = Field(ge=0)
    "Steps of decay before the end."
    steps: int | None = Field(default=None, gt=0)
    "Step at which `final` is reached. Default: train.steps."
    final: float = Field(default=0.0, ge=0, le=1)
    "Last value, relative to the peak."
    shape: Literal["linear", "sqrt"] = "linear"
    "Straight line, or 1 - sqrt (Hagele et al. 2024)."

    def scale(self, step: int, total: int) -> float:
        """The factor at `step`."""
        into_decay = step - ((self.steps or total) - self.decay)
        progress = min(1.0, max(0, into_decay) / self.decay) if self.decay else 0.0
        fallen = math.sqrt(progress) if self.shape == "sqrt" else progress
        return self._warm(step) * (1 - (1 - self.final) * fallen)


class ExponentialSchedule(_WarmUp):
    """Warm-up, then a factor more at every step down to `final`."""

    kind: Literal["exponential"] = "exponential"
    decay: float = Field(gt=0, lt=1)
    "Factor of every step."
    final: float = Field(default=0.0, ge=0, le=1)
    "Least value, relative to the peak."

    def scale(self, step: int, total: int) -> float:
        """The factor at `step`."""
        return self._warm(step) * max(self.final, self.decay ** max(0, step - self.warmup))


AnySchedule = Annotated[ConstantSchedule | CosineSchedule | WSDSchedule | ExponentialSchedule, Kind()]
