"""The figures that counting hands to planning. Plain numbers; free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Precision = Literal["float32", "bf16", "int8"]


@dataclass(frozen=True)
class Flops:
    """FLOPs of forward and backward per token of a row of T tokens: `constant + per_length * T`.

    A multiply-add counts 2; backward counts twice the forward; what activation checkpointing computes again is not
    counted (that would be hardware FLOPs). Attention counts the pairs that its visibility shows: half of T^2 if causal.
    """

    constant: float
    "a: what does not depend on the length of the row: matrix multiplications with weights."
    per_length: float
    "b: attention, per token of the row."

    def per_token(self, length: int) -> float:
        """FLOPs per token of rows of `length` tokens."""
        return self.constant + self.per_length * length


@dataclass(frozen=True)
class Workload:
    """What one row (one sequence, image, clip or task) of a recipe costs, counted from its modules."""

    parameters: int
    "Numbers in the model, each shared one once."
    trained: int
    "Those of them that an optimizer changes."
    largest_layer: int
    "Parameters of the largest module that ZeRO-3 gathers whole (a block, an embedding, a head)."
    layers: int
    "Blocks, each gathered and reduced as one when communication is planned."
    tokens_per_row: int
    flops: Flops
    activation_bytes_per_row: int
    "Saved for backward by forward of one row."
    checkpointed_activation_bytes_per_row: int
    "The same with `train.recompute=blocks`: the inputs of blocks, and what one block saves while it is recomputed."
    bytes_per_row_read: int
    "What the data loader hands over for one row."
    activation_bytes: int = 0
    "Saved once in a micro-batch, however many its rows: the gradient of an output matrix, weights cast by autocast."
    checkpointed_activation_bytes: int = 0
    "The same with `train.recompute=blocks`."
    brief_bytes: int = 0
    "What lives briefly beside that in forward: logits."
    int8_flops: float = 0.0
    "Of `flops.constant`, those of products of 8-bit matrices."
    rounded_bytes: int = 0
    "8-bit copies of weights, which every rank keeps whole from step to step."


@dataclass(frozen=True)
class Layout:
    """How a recipe is spread over devices."""

    world_size: int
    gpus_per_node: int
    zero: Literal[0, 1, 2, 3]
    offload: Literal["none", "optimizer", "all"]
    recompute: bool
    precision: Precision
    micro_rows: int
    "Rows of one micro-batch on one rank."


@dataclass(frozen=True)
class Memory:
    """Bytes on one device by kind; what is offloaded to the host is in `host`."""

    weights: int
    "With their 8-bit copies."
    gradients: int
    optimizer: int
    "Moments and float32 master weights."
    activations: int
    buffers: int
    "Communication buckets, gathered layers, logits: what lives briefly at the peak."
    host: int

    @property
    def device(self) -> int:
        """All that must fit on the device."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.buffers
