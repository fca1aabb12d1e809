"""Model FLOPs per second, and model FLOPs utilisation (MFU).

MFU is the model FLOPs of the steps taken, per second, over the peak of all devices together (Chowdhery et al. 2022,
appendix B): what is computed again for memory's sake does not count. Where the peak of a device is not known there is
no MFU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Efficiency:
    """What a step computes, and what the devices could."""

    step_flops: float | None = None
    "Model FLOPs of a step over the global batch; None where they cannot be counted."
    device: str = "cpu"
    "Name of a rank's device."
    peak_flops: float | None = None
    "FLOP/s of a rank's device at the run's precision, dense; None where not known."
    num_devices: int = 1

    def facts(self) -> dict[str, Any]:
        """For environment.json: what the figures of this start rest on."""
        return {
            "convention": "model FLOPs: a multiply-add is 2, recomputation is none (Chowdhery et al. 2022, appendix B)",
            "step_flops": self.step_flops,
            "device": self.device,
            "peak_flops_per_device": self.peak_flops,
            "num_devices": self.num_devices,
        }

    def row(self, step_s: float) -> dict[str, float | None]:
        """The figures of a step that takes `step_s` seconds."""
        rate = None if self.step_flops is None else self.step_flops / step_s
        known = rate is not None and self.peak_flops is not None
        return {
            "model_flops_per_s": rate,
            "mfu": round(rate / (self.peak_flops * self.num_devices), 4) if known else None,  # type: ignore[operator]
        }
