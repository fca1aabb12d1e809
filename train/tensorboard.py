"""The rows of a run as TensorBoard events, ready to look at. Rank 0 only.

Custom scalars put together what is read together; samples, the recipe and its keys (HPARAMS) are there as text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from train.metrics import Row, numbers_of
from train.recipe import Recipe
from train.trackers import flattened

LAYOUT = {
    "training": {
        "loss": ["train/loss", "probe/.*/loss"],
        "learning rate": ["train/lr"],
        "gradient norm": ["train/grad_norm"],
    },
    "throughput": {
        "tokens per second": ["train/tokens_per_s"],
        "MFU": ["train/mfu"],
        "seconds per step": ["train/step_s"],
    },
    "waits": {
        "share of the step": ["train/data_wait_share", "train/comm_share"],
        "seconds per step": ["train/data_wait_s", "train/comm_s", "train/sync_s"],
        "own seconds of ranks": ["train/own_s_min", "train/own_s_median", "train/own_s_max"],
        "probes and checkpoints, seconds": ["train/probe_s", "train/checkpoint_s"],
    },
    "memory": {
        "MB": ["train/rss_mb", "train/device_peak_mb", "train/device_reserved_mb"],
    },
}
"Tabs, charts, and the curves in each: patterns of tags."


class Events:
    """Event files in a folder; a resumed run replaces the steps that it repeats."""

    def __init__(self, folder: Path, recipe: Recipe, *, step: int) -> None:
        self._writer: Any = SummaryWriter(str(folder), purge_step=step + 1)
        probes = {name: [f"probe/{name}/.*"] for name in recipe.probes}
        layout = {**LAYOUT, "probes": probes} if probes else LAYOUT
        self._writer.add_custom_scalars(
            {tab: {chart: ["Multiline", tags] for chart, tags in charts.items()} for tab, charts in layout.items()}
        )
        self._writer.add_text("recipe", f"```yaml\n{recipe.yaml()}```", step)
        # Not `add_hparams`: it would open a run of its own beside this one.
        files: Any = self._writer.file_writer
        for summary in hparams(flattened(recipe.tree()), {"train/loss": None}):  # type: ignore[no-untyped-call]
            files.add_summary(summary)
        self._writer.flush()

    def add(self, prefix: str, row: Row) -> None:
        """Write a row: numbers as scalars, a sample as text."""
        for key, value in numbers_of(row).items():
            self._writer.add_scalar(f"{prefix}/{key}", value, row["step"])
        if "text" in row:
            self._writer.add_text(prefix, f"```\n{row.get('prompt', '')}{row['text']}\n```", row["step"])
        self._writer.flush()

    def close(self) -> None:
        """Close the files."""
        self._writer.close()
