"""Which rows of a table are known (the context) and which are queried.

The rows are shuffled and the first `num_context` are known: at least one, and at least one is queried. A class that
only queried rows have cannot be predicted, so for every such class one of its rows changes places with a known row
of a class that has more than one. Where there is no such row (fewer known rows than classes), the class stays queried.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data.sample import Sample, SampleError
from data.tables.options import ContextSplitOptions

ROW_FIELDS = ("features", "label", "mask")
"Fields of a table whose first dimension is rows."


class ContextSplit:
    """Shuffles the rows and adds `num_context` [] int64; works for every table, synthetic ones included."""

    def __init__(self, options: ContextSplitOptions) -> None:
        self.options = options

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """Choose how many rows are known, and which."""
        require(sample, "features", "label", by="context_split")
        label_R = sample["label"]
        num_context = draw_num_context(generator, self.options.context, len(label_R))
        order_R = context_order(generator, label_R, num_context)
        moved = {name: sample[name][order_R] for name in ROW_FIELDS if name in sample}
        return sample | moved | {"num_context": np.array(num_context, dtype=np.int64)}


def draw_num_context(generator: np.random.Generator, share: Sequence[float], rows: int) -> int:
    """A number of known rows, in [1, rows - 1].

    Raises:
        SampleError: when there are not even two rows.
    """
    if rows < 2:
        raise SampleError(f"a table of {rows} row(s) cannot be split into known and queried rows")
    low, high = share
    return min(max(round(generator.uniform(low, high) * rows), 1), rows - 1)


def context_order(generator: np.random.Generator, label_R: NDArray[np.generic], num_context: int) -> NDArray[np.int64]:
    """An order of the rows in which the first `num_context` have every class, where that is possible."""
    order_R = generator.permutation(len(label_R))
    classes_R = np.unique(label_R, return_inverse=True)[1].reshape(-1)[order_R]
    counts = np.bincount(classes_R[:num_context], minlength=int(classes_R.max()) + 1)
    for absent in np.flatnonzero(counts == 0):
        spare = np.flatnonzero(counts[classes_R[:num_context]] > 1)
        if not len(spare):
            break
        known, queried = int(spare[-1]), num_context + int(np.argmax(classes_R[num_context:] == absent))
        counts[classes_R[known]] -= 1
        counts[absent] += 1
        for array in (order_R, classes_R):
            array[[known, queried]] = array[[queried, known]]
    # Exchanged rows would lie at the end more often than others.
    order_R[:num_context] = generator.permutation(order_R[:num_context])
    return order_R


def require(sample: Sample, *names: str, by: str) -> None:
    """Check that a sample has these fields.

    Raises:
        SampleError: naming the first that it lacks.
    """
    for name in names:
        if name not in sample:
            hint = " Put context_split before it." if name == "num_context" else ""
            raise SampleError(f"{by} needs the field '{name}'; this sample has {', '.join(sample)}.{hint}")
