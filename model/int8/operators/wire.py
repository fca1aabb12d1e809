"""What passes between operators, and how autograd carries it.

Autograd refuses integer tensors that need gradients, but only looks at dtype and shape. So the integers travel as
float8 views of the same bytes, beside their scales, and the gradient of such a pair is again a pair: integers under
the name of float8, and scales. No arithmetic is ever done on the view. Each operator is a Function of its own, so
attention and whatever else lies between keeps its own backward, hooks on parameters fire as they do everywhere,
and a recomputed block (activation checkpointing) draws the same seeds again.

One rule follows: a wire goes to one operator. Autograd would add the gradients of two, and torch raises
NotImplementedError for a sum of float8; `boundary.fork` adds them properly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from model.int8.quant_tensor import Format, Noise, QuantTensor

_CARRIED = torch.float8_e4m3fn


class Wire(NamedTuple):
    """A QuantTensor on its way; a tuple, so that hooks on modules (DeepSpeed's) find the tensors in it."""

    payload: Tensor
    "The integers under another name: float8 [N, C]."
    scale: Tensor
    "float32, one for every tile."

    def read(self, held: Format) -> QuantTensor:
        """The matrix, without a gradient."""
        q = self.payload.detach().view(torch.int8)
        return QuantTensor(q, self.scale.detach(), held.tile_of(*q.shape))


class Again(NamedTuple):
    """How a matrix is computed a second time, so that it need not be kept for backward."""

    compute: Callable[..., QuantTensor]
    sources: tuple[Tensor, ...]
    "What it is computed from; others keep these anyway."


def send(x: QuantTensor) -> Wire:
    """The wire that holds `x`."""
    return Wire(x.q.view(_CARRIED), x.scale)


def draw_noise() -> Noise:
    """A seed from torch's default generator on the CPU, which is set at every step from (seed, step, rank)."""
    return Noise(int(torch.randint(2**62, ())))
