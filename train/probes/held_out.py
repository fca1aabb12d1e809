"""Walking over samples with all ranks, for probes."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from configs.errors import DataError
from data.loader import Batch, evaluation_batches
from data.sample import Source
from train.probes.probe import ProbeContext


def held_out_batches(source: Source, rows: int | None, context: ProbeContext) -> Iterator[tuple[Batch, bool]]:
    """This rank's share of `rows` samples (all, where None), spread evenly over `source`.

    False: a repetition, which does not count (all ranks go on equally often).

    Raises:
        ProbeGivenUp: where an end was asked for.
        DataError: where too many samples cannot be read.
    """
    world = context.world
    batches = evaluation_batches(
        source, rows=rows, micro_rows=context.micro_rows, rank=world.rank, world_size=world.size
    )
    try:
        for batch, is_mine, bad in batches:
            context.go_on()
            for sample in bad:
                print(f"probe: bad sample, its neighbour is taken: {sample.error}", file=sys.stderr)
            yield batch, is_mine
    except DataError as error:
        error.is_everywhere = False  # other ranks read other samples
        raise
