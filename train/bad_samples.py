"""`runs/<name>/bad_samples/rank-00000.jsonl`: the damaged samples that each rank met, one object per line."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.reading import BadSample


@dataclass(frozen=True)
class BadSampleLog:
    """Says and writes down what had to be replaced. The file exists only where there is something to say."""

    folder: Path
    rank: int

    def add(self, step: int, bad: Sequence[BadSample]) -> None:
        """Report the replaced rows of one step."""
        if not bad:
            return
        self.folder.mkdir(exist_ok=True)
        with (self.folder / f"rank-{self.rank:05d}.jsonl").open("a") as file:
            for item in bad:
                row = {
                    "step": step,
                    "position": item.position,
                    "sample": item.sample,
                    "replaced_by": item.replaced_by,
                    "error": item.error,
                }
                file.write(json.dumps(row) + "\n")
                print(
                    f"step {step}: bad sample {item.sample}, replaced by {item.replaced_by}: {item.error}",
                    file=sys.stderr,
                    flush=True,
                )
