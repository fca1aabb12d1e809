"""What is written while training: metrics.jsonl, progress, and what else takes rows. Rank 0 only.

metrics.jsonl holds one JSON object per probe, with `step`, `probe` and its figures, and one per logged step:

    step                 optimizer steps since the start of the run
    loss                 mean over the targets of this step's global batch, in the objective's unit
    lr                   learning rate of this step
    grad_norm            of this step, before clipping
    samples, tokens      rows and targets since the start of the run
    tokens_per_s         targets of all ranks per second
    step_s               seconds of a step, without probes and checkpoints
    data_wait_s          of it, waiting for a batch: of the rank that waited longest
    data_wait_share      the same over step_s
    comm_s               of it, held up by the engine's collectives (`train.engines.blocked`), waiting for slower ranks
                         included: mean over ranks
    comm_share           the same over step_s
    sync_s               of it, waiting for other ranks where a step begins: mean over ranks
    own_s_min, own_s_median, own_s_max
                         step_s less what others held it up: over ranks
    slowest_rank         whose own_s is largest
    straggler            a rank slow in several rows on end, and its host (`train.timing.SLOW`, `SLOW_ROWS`); else null
    probe_s, checkpoint_s
                         seconds in probes and checkpoints, in all, since the last row
    rss_mb               resident memory of a training process, 1e6 bytes: of the rank with most
    device_peak_mb, device_reserved_mb
                         allocated at most since the last row, and reserved, of the rank with most; null on CPU
    model_flops_per_s    model FLOP/s of all ranks; null where a step's FLOPs cannot be counted
    mfu                  their share of the devices' peak, 0 to 1; null where the peak is not known (CPU)
    bad_samples          rows that had to be replaced since the last row, on all ranks
    data_digest          of the samples of this step

Times are means over the steps since the last row, unless said otherwise.

With `log.saved_bytes` the first row also has `saved_bytes`, bytes that autograd keeps of a micro-batch on rank 0 for
backward, `saved_bytes_blocks`, those of them that blocks keep, and `saved_bytes_by`, all by kind of module.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from tqdm import tqdm

Row = dict[str, Any]


class Sink(Protocol):
    """What else takes rows: TensorBoard, trackers."""

    def add(self, prefix: str, row: Row) -> None:
        """Take a row, `step` among its keys; `prefix` is "train" or "probe/<name>"."""

    def close(self) -> None:
        """Finish what is written."""


class MetricsLog:
    """Appends rows; a resumed run first drops the rows beyond its checkpoint, which it will write again."""

    def __init__(self, path: Path, sinks: Sequence[Sink] = (), *, step: int, last: int) -> None:
        self._path = path
        _drop_after(path, step)
        self._file = path.open("a")
        self._sinks = sinks
        # Off a terminal the bar would fill a log file; lines are printed instead.
        self._is_terminal = sys.stderr.isatty()
        self._bar = tqdm(total=last, initial=step, unit="step", disable=not self._is_terminal, dynamic_ncols=True)
        self._last = last

    def step(self, row: Row) -> None:
        """Write the row of a training step."""
        self._write("train", row)
        shown = f"loss {row['loss']:.4f}  lr {row['lr']:.2e}  norm {row['grad_norm']:.3g}"
        shown += f"  {row['tokens_per_s']:,.0f} tokens/s"
        if row.get("mfu") is not None:
            shown += f"  MFU {row['mfu']:.1%}"
        if self._is_terminal:
            self._bar.set_description_str(shown, refresh=False)
        else:
            print(
                f"step {row['step']}/{self._last}  {shown}  wait {row['data_wait_s'] * 1e3:.1f} ms",
                file=sys.stderr,
                flush=True,
            )
        if row.get("straggler") is not None:
            self.note(f"step {row['step']}/{self._last}  straggler: {row['straggler']} holds up the others")

    def advance(self) -> None:
        """Move the progress bar by one step."""
        self._bar.update()

    def probe(self, name: str, step: int, figures: Row) -> None:
        """Write the row of a probe."""
        self._write(f"probe/{name}", {"step": step, "probe": name, **figures})
        numbers = [f"{key} {value:.4f}" for key, value in figures.items() if isinstance(value, float)]
        if numbers:
            self.note(f"step {step}/{self._last}  {name}: {'  '.join(numbers)}")

    def probes_at(self, step: int) -> set[str]:
        """Names of the probes with a row at this step."""
        return {row["probe"] for row in read_rows(self._path) if row["step"] == step and "probe" in row}

    def note(self, text: str) -> None:
        """Print a line without tearing the progress bar."""
        tqdm.write(text, file=sys.stderr)
        sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        self._file.close()
        for sink in self._sinks:
            sink.close()

    def _write(self, prefix: str, row: Row) -> None:
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()
        }
        self._file.write(json.dumps(finite, allow_nan=False) + "\n")
        self._file.flush()
        for sink in self._sinks:
            sink.add(prefix, row)


def numbers_of(row: Row) -> dict[str, int | float]:
    """The figures of a row that are numbers, without its step."""
    return {key: value for key, value in row.items() if key != "step" and isinstance(value, int | float)}


def read_rows(path: Path) -> list[Row]:
    """The rows of a metrics.jsonl; a last line cut short by a kill is left out."""
    return list(iterate_rows(path))


def iterate_rows(path: Path) -> Iterator[Row]:
    """The same one by one, for what should not be held in memory whole."""
    if not path.exists():
        return
    # A machine that died may have left bytes that are no text: such a line is no row.
    with path.open(errors="replace") as file:
        for line in file:
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue


def _drop_after(path: Path, step: int) -> None:
    if not path.exists():
        return
    kept = [json.dumps(row) + "\n" for row in read_rows(path) if row["step"] <= step]
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text("".join(kept))
    os.replace(temporary, path)
