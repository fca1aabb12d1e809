"""What is written while training: metrics.jsonl, TensorBoard, progress. Rank 0 only.

metrics.jsonl holds one JSON object per logged step

    step, loss, lr, grad_norm, samples, tokens, tokens_per_s, data_wait_s, step_s, rss_mb, bad_samples, data_digest

and one per probe, with `step`, `probe` and its figures. `loss` and `grad_norm` belong to that step;
`samples` and `tokens` count from the start of the run; times are means over the steps since the last row.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

Row = dict[str, Any]


class MetricsLog:
    """Appends rows; a resumed run first drops the rows beyond its checkpoint, which it will write again."""

    def __init__(self, path: Path, tensorboard: Path | None, *, step: int, last: int) -> None:
        self._path = path
        _drop_after(path, step)
        self._file = path.open("a")
        self._events: Any = None
        if tensorboard is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(tensorboard), purge_step=step + 1)
        # Off a terminal the bar would fill a log file; lines are printed instead.
        self._is_terminal = sys.stderr.isatty()
        self._bar = tqdm(total=last, initial=step, unit="step", disable=not self._is_terminal, dynamic_ncols=True)
        self._last = last

    def step(self, row: Row) -> None:
        """Write the row of a training step."""
        self._write(row)
        self._add_events("train", row)
        shown = f"loss {row['loss']:.4f}  lr {row['lr']:.2e}  norm {row['grad_norm']:.3g}"
        shown += f"  {row['tokens_per_s']:,.0f} tokens/s"
        if self._is_terminal:
            self._bar.set_description_str(shown, refresh=False)
        else:
            print(
                f"step {row['step']}/{self._last}  {shown}  wait {row['data_wait_s'] * 1e3:.1f} ms",
                file=sys.stderr,
                flush=True,
            )

    def advance(self) -> None:
        """Move the progress bar by one step."""
        self._bar.update()

    def probe(self, name: str, step: int, figures: Row) -> None:
        """Write the row of a probe."""
        self._write({"step": step, "probe": name, **figures})
        self._add_events(f"probe/{name}", {"step": step, **figures})
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
        if self._events is not None:
            self._events.close()

    def _write(self, row: Row) -> None:
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()
        }
        self._file.write(json.dumps(finite, allow_nan=False) + "\n")
        self._file.flush()

    def _add_events(self, prefix: str, row: Row) -> None:
        if self._events is None:
            return
        for key, value in row.items():
            if key == "text":
                self._events.add_text(prefix, f"```\n{row.get('prompt', '')}{value}\n```", row["step"])
            elif key != "step" and isinstance(value, int | float):
                self._events.add_scalar(f"{prefix}/{key}", value, row["step"])
        self._events.flush()


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
