"""`OrderOptions`: in which order samples are drawn. Free of heavy imports."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from configs.options import Options


class OrderOptions(Options):
    """In which order the samples of an epoch are drawn; `data.order` has the arithmetic."""

    shuffle: Literal["full", "window", "none"] = "full"
    "full: any sample may follow any other. window: near-sequential reads (see window, run). none: as they lie."
    window: int = Field(default=65536, gt=0)
    "With shuffle window: samples shuffled together. The larger, the closer to a full shuffle."
    run: int = Field(default=256, gt=0)
    "With shuffle window: consecutive samples that stay together until the window shuffles them."
    epochs: int | None = Field(default=None, gt=0)
    "Most epochs that a run may draw; one that would draw more is refused at its start. Null is endless."
