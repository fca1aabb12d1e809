"""`python -m train`, in which the rank SLOW_RANK takes SLOW_S seconds longer to compute a forward pass."""

from __future__ import annotations

import os
import time
from typing import Any

from train import command
from train.objectives.causal_lm import CausalLM

_forward = CausalLM.forward


def _slow(self: CausalLM, batch: Any) -> Any:
    if self.training and os.environ["RANK"] == os.environ["SLOW_RANK"]:
        time.sleep(float(os.environ["SLOW_S"]))
    return _forward(self, batch)


if __name__ == "__main__":
    CausalLM.forward = _slow  # type: ignore[method-assign]
    command.leave(command.main())
