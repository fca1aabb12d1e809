"""The sections of a recipe that belong to no single part. Free of torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from configs.options import Kind, Options, Part
from model.selectors import Patterns
from train.schedule import AnySchedule, ConstantSchedule
from train.tracker_options import AnyTracker


class TrainOptions(Options):
    """How long, and how."""

    steps: int = Field(gt=0)
    "Optimizer steps in all, counted from the very first start of the run."
    clip_norm: float | None = Field(default=1.0, gt=0)
    "Clip the global gradient norm to this; null does not clip."
    recompute: Literal["none", "blocks"] = "none"
    "Activation checkpointing: keep only the inputs of blocks and recompute the rest backward."
    compile: bool = False
    "torch.compile every block."
    time_limit_s: float | None = Field(default=None, gt=0)
    "Save and leave with exit code 75 (try again) after this many seconds of training, before a walltime limit does."
    stall_limit_s: float | None = Field(default=1200.0, gt=0)
    """A step that takes longer ends the job, with the stacks of every rank; null waits. By default longer than any
    compilation takes, and shorter than the half hour after which collectives give up without saying where."""
    deterministic: bool = True
    "Use deterministic algorithms, so that a resumed run equals an uninterrupted one on every device."


class ParameterGroup(Options):
    """Some of the trained parameters. In several groups, factors of `lr` multiply and the last `weight_decay` holds."""

    select: Patterns
    "Names of parameters: '**@norm', 'transformer.embedder.**'."
    lr: float = Field(default=1.0, ge=0)
    "Factor of the learning rate."
    weight_decay: float | None = Field(default=None, ge=0)
    "Instead of the optimizer's."


class AdamWOptions(Part):
    """AdamW (Loshchilov and Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    lr: float = Field(gt=0)
    "Peak learning rate."
    beta1: float = Field(default=0.9, ge=0, lt=1)
    "Decay of the first moment."
    beta2: float = Field(default=0.95, ge=0, lt=1)
    "Decay of the second moment."
    eps: float = Field(default=1e-8, gt=0)
    "Added to the root of the second moment."
    weight_decay: float = Field(default=0.1, ge=0)
    "Decoupled decay of matrices; vectors (norms, biases) are not decayed."
    lr_decay_per_layer: float = Field(default=1.0, gt=0, le=1)
    "Factor of the learning rate for every layer further from the output (Clark et al. 2020, A.2)."
    groups: list[ParameterGroup] = Field(default_factory=list)
    "Parameters that are treated otherwise."
    schedule: AnySchedule = ConstantSchedule()
    "Factor of lr at each step."


AnyOptimizer = Annotated[AdamWOptions, Kind(default="adamw")]


class CheckpointOptions(Options):
    """When checkpoints are written and which are kept. One is always written at the end."""

    every: int = Field(default=1000, gt=0)
    "Steps between checkpoints."
    keep_last: int = Field(default=3, gt=0)
    "Newest checkpoints to keep."


class ProfileOptions(Options):
    """Steps that torch's profiler watches. They take longer; a run that goes on from later leaves them out."""

    start: int = Field(default=20, gt=0)
    "The first of them."
    steps: int = Field(default=3, gt=0)
    "How many."
    ranks: list[Annotated[int, Field(ge=0)]] = Field(default=[0], min_length=1)
    "Ranks that write a trace; the lowest prints its table of operators."


class LogOptions(Options):
    """What is written while training."""

    every: int = Field(default=10, gt=0)
    "Steps between rows of metrics.jsonl."
    tensorboard: bool = True
    "Also write TensorBoard events."
    trackers: list[AnyTracker] = Field(default_factory=list)
    "Other trackers that get the rows too: 'wandb', or {kind: wandb, options: {...}}."
    profile: ProfileOptions | None = None
    "A few steps to profile; null profiles none."
    saved_bytes: bool = False
    "Count, in the first step, what autograd keeps for backward: in all, of blocks, and by kind of module."
