"""Activations, plain and gated (Shazeer 2020), of 8-bit matrices.

Kept for backward: the 8-bit inputs alone. The linear layer that follows needs the result for its weight's gradient,
and computes it from them again (`again`, `again_gated`): it is as large as everything else that a block keeps.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import gelu, silu

from model.int8.operators.wire import Again, Wire, send
from model.int8.quant_tensor import Format, Noise, QuantTensor, quantise

Curve = Literal["gelu", "silu"]


def activate(x: Wire, curve: Curve, held: Format, noise: Noise) -> Wire:
    """curve(x)."""
    return Wire(*_Activate.apply(*x, curve, held, noise))


def activate_gated(gate: Wire, up: Wire, curve: Curve, held: Format, noise: Noise) -> Wire:
    """curve(gate) * up."""
    return Wire(*_ActivateGated.apply(*gate, *up, curve, held, noise))


def again(x: Wire, curve: Curve, held: Format) -> Again:
    """`activate` once more, for the operator that takes its result."""
    q, scale, tile = _parts(x, held)
    return Again(partial(_activated, tile, curve, held), (q, scale))


def again_gated(gate: Wire, up: Wire, curve: Curve, held: Format) -> Again:
    """`activate_gated` once more, for the operator that takes its result."""
    q, scale, tile = _parts(gate, held)
    return Again(partial(_activated_gated, tile, curve, held), (q, scale, *_parts(up, held)[:2]))


def value(curve: Curve, x: Tensor) -> Tensor:
    """curve(x). The GELU is the exact one (Hendrycks and Gimpel 2016)."""
    return gelu(x) if curve == "gelu" else silu(x)


def slope(curve: Curve, x: Tensor) -> Tensor:
    """Its derivative."""
    if curve == "gelu":
        return 0.5 * (1 + torch.erf(x / math.sqrt(2))) + x * torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    gate = torch.sigmoid(x)
    return gate * (1 + x * (1 - gate))


def _parts(x: Wire, held: Format) -> tuple[Tensor, Tensor, tuple[int, int]]:
    read = x.read(held)
    return read.q, read.scale, read.tile


def _activated(tile: tuple[int, int], curve: Curve, held: Format, q: Tensor, scale: Tensor) -> QuantTensor:
    return quantise(value(curve, QuantTensor(q, scale, tile).dequantise()), held)


def _activated_gated(
    tile: tuple[int, int], curve: Curve, held: Format, gate_q: Tensor, gate_scale: Tensor, q: Tensor, scale: Tensor
) -> QuantTensor:
    gate_NF = QuantTensor(gate_q, gate_scale, tile).dequantise()
    return quantise(value(curve, gate_NF) * QuantTensor(q, scale, tile).dequantise(), held)


class _Activate(Function):
    @staticmethod
    def forward(ctx: Any, payload: Tensor, scale: Tensor, curve: Curve, held: Format, noise: Noise) -> Wire:
        q, scale, tile = _parts(Wire(payload, scale), held)
        ctx.save_for_backward(q, scale)
        ctx.tile, ctx.curve, ctx.held, ctx.noise = tile, curve, held, noise
        return send(_activated(tile, curve, held, q, scale))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, scale = ctx.saved_tensors
        x_NF = QuantTensor(q, scale, ctx.tile).dequantise()
        dx_NF = Wire(*grads).read(ctx.held).dequantise() * slope(ctx.curve, x_NF)
        return *send(quantise(dx_NF, ctx.held, ctx.noise)), None, None, None


class _ActivateGated(Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> Wire:
        *wires, curve, held, noise = given
        gate, up = Wire(*wires[:2]).read(held), Wire(*wires[2:]).read(held)
        ctx.save_for_backward(gate.q, gate.scale, up.q, up.scale)
        ctx.tile, ctx.curve, ctx.held, ctx.noise = gate.tile, curve, held, noise
        return send(_activated_gated(gate.tile, curve, held, gate.q, gate.scale, up.q, up.scale))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        gate_q, gate_scale, up_q, up_scale = ctx.saved_tensors
        gate_NF = QuantTensor(gate_q, gate_scale, ctx.tile).dequantise()
        up_NF = QuantTensor(up_q, up_scale, ctx.tile).dequantise()
        g_NF = Wire(*grads).read(ctx.held).dequantise()
        # Two tensors from one seed: the second has a stream of its own.
        other = Noise(ctx.noise.seed, ctx.noise.stream + 1)
        to_gate = send(quantise(g_NF * up_NF * slope(ctx.curve, gate_NF), ctx.held, ctx.noise))
        to_up = send(quantise(g_NF * value(ctx.curve, gate_NF), ctx.held, other))
        return *to_gate, *to_up, None, None, None
