"""Options of every probe. Free of torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from configs.options import Kind, Part
from data.sources import DataOptions


class ProbeOptions(Part):
    """When any probe runs. All of them run at the end."""

    every: int | None = Field(default=None, gt=0)
    "Steps between measurements; null measures only at the end (and before, where asked)."
    before: bool = False
    "Also measure before the first step."

    def is_due(self, step: int, last: int) -> bool:
        """Whether to measure after `step` steps of `last`."""
        return (
            step == last
            or (step == 0 and self.before)
            or (step > 0 and bool(self.every) and step % (self.every or 1) == 0)
        )

    def require(self, data: DataOptions, name: str) -> None:
        """Raise ValueError when the recipe's data lack what the probe needs."""


class LossProbeOptions(ProbeOptions):
    """The objective's mean loss on held-out samples."""

    kind: Literal["loss"] = "loss"
    before: bool = True
    "Also measure before the first step."
    rows: int | None = Field(default=None, gt=0)
    "Samples to measure on, spread evenly over the split; null takes all of it."

    builds: ClassVar[str] = "train.probes.loss:LossProbe"

    def require(self, data: DataOptions, name: str) -> None:
        if data.validation is None:
            raise ValueError(f"probes.{name} measures on data.validation, which the recipe does not have; add it")


class BitsPerByteProbeOptions(LossProbeOptions):
    """Bits of held-out text per byte, which compares across tokenizers, beside those of a unigram coder."""

    kind: Literal["bits_per_byte"] = "bits_per_byte"  # type: ignore[assignment]
    unigram_rows: int = Field(default=4096, gt=0)
    "Training samples in which the unigram coder counts tokens."

    builds: ClassVar[str] = "train.probes.bits_per_byte:BitsPerByteProbe"

    def require(self, data: DataOptions, name: str) -> None:
        super().require(data, name)
        if data.tokenizer is None:
            raise ValueError(f"probes.{name} counts bytes and needs data.tokenizer; add it")


class ContrastiveProbeOptions(LossProbeOptions):
    """Accuracy of telling masked frames from distractors on held-out samples, and use of the codebooks."""

    kind: Literal["contrastive"] = "contrastive"  # type: ignore[assignment]

    builds: ClassVar[str] = "train.probes.contrastive:ContrastiveProbe"


class SampleProbeOptions(ProbeOptions):
    """Text that the model writes."""

    kind: Literal["sample"] = "sample"
    prompt: str = ""
    "Text to continue; empty starts a new document."
    num_tokens: int = Field(default=64, gt=0)
    "Tokens to write at most."
    temperature: float = Field(default=0.8, ge=0)
    "0 takes the likeliest token."
    top_p: float | None = Field(default=0.95, gt=0, le=1)
    "Draw from the likeliest tokens up to this total probability."

    builds: ClassVar[str] = "train.probes.sample:SampleProbe"

    def require(self, data: DataOptions, name: str) -> None:
        if data.tokenizer is None:
            raise ValueError(f"probes.{name} writes text and needs data.tokenizer; add it")


class LinearProbeOptions(ProbeOptions):
    """How well a linear classifier on frozen features does, beside one on the features of random weights."""

    kind: Literal["linear_probe"] = "linear_probe"
    labels: int = Field(default=1000, gt=1)
    "Labelled samples that the classifier is fitted to, spread evenly over data.train."
    rows: int | None = Field(default=None, gt=0)
    "Samples that it is scored on, spread evenly over data.validation; null takes all of it."
    features: Literal["mean", "cls"] = "mean"
    "The mean of the tokens behind the prefix, or the first token."
    weight_decay: float = Field(default=1e-3, ge=0)
    "Factor of half the squared norm of the weights, beside the mean cross-entropy of standardised features."
    field: str = "image"
    "The field that the model reads."
    label: str = "label"
    "The field of the labels: whole numbers from 0."

    builds: ClassVar[str] = "train.probes.linear_probe:LinearProbe"

    def require(self, data: DataOptions, name: str) -> None:
        if data.validation is None:
            raise ValueError(f"probes.{name} is scored on data.validation, which the recipe does not have; add it")


TableName = Literal["iris", "wine", "breast_cancer", "digits"]


class TablesProbeOptions(ProbeOptions):
    """Accuracy on scikit-learn's small tables, beside logistic regression and a random forest."""

    kind: Literal["tables"] = "tables"
    tables: list[TableName] = Field(default=["iris", "wine", "breast_cancer"], min_length=1)
    "The tables whose mean accuracy is reported."
    splits: int = Field(default=5, gt=0)
    "Random splits of every table, one half known and one half asked for; the same in every run."
    orders: int = Field(default=4, gt=0)
    "Orders of the feature columns to average over; classes are averaged over all their cyclic shifts."

    builds: ClassVar[str] = "train.probes.tables:TablesProbe"


AnyProbe = Annotated[
    LossProbeOptions
    | BitsPerByteProbeOptions
    | SampleProbeOptions
    | LinearProbeOptions
    | ContrastiveProbeOptions
    | TablesProbeOptions,
    Kind(),
]
