"""How far every Hugging Face family is from the class of transformers: the table in docs/model.md.

python -m benchmarks.parity
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import pytest

from model.interop.families import FAMILIES
from tests.model.interop.parity import FIGURES, Figures

HEADER = """\
| family | outputs, float64 | gradients, float64 | outputs, float32 | gradients, float32 | each to its own | noisy |
|---|---|---|---|---|---|---|"""


def table(figures: Iterable[Figures]) -> str:
    """The worst of every family, as Markdown."""
    rows = list(figures)
    lines = [HEADER]
    for family in FAMILIES:
        found = [row for row in rows if row.family == family]
        keys = ("output64", "gradient64", "output32", "gradient32", "own32")
        worst = [f"{max(getattr(row, key) for row in found):.0e}" for key in keys]
        noisy = sum(row.num_noisy for row in found) / sum(row.num_gradients for row in found)
        lines.append(" | ".join([f"| `{family}`", *worst, f"{noisy:.0%} |"]))
    return "\n".join(lines)


if __name__ == "__main__":
    code = pytest.main(["tests/model/interop", "-q", "-p", "no:cacheprovider"])
    print(table(FIGURES))
    sys.exit(code)
