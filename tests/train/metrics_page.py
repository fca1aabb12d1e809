"""What the documents say of metrics.jsonl."""

from __future__ import annotations

import re

from train import metrics


def documented_keys() -> list[str]:
    """The keys of a step's row, in order, as the docstring of `train.metrics` lists them."""
    lines = re.findall(r"^    ([a-z_]+(?:, [a-z_]+)*)(?:  |$)", metrics.__doc__ or "", re.M)
    return [key for line in lines for key in line.split(", ")]
