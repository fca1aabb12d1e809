"""Activations, plain and gated (Shazeer 2020), of 8-bit matrices.

Kept for backward: the 8-bit inputs alone. The linear layer that follows needs the result for its weight's gradient,
and computes it from them again (`again`, `again_gated`): it is as large as everything else that a block keeps.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor
from torch.autograd import Function

from model.int8.arithmetic import Curve, arithmetic_of
from model.int8.operators.wire import Again, Wire, send
from model.int8.quant_tensor import Format, Noise, QuantTensor


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


def _parts(x: Wire, held: Format) -> tuple[Tensor, Tensor, tuple[int, int]]:
    read = x.read(held)
    return read.q, read.scale, read.tile


def _activated(tile: tuple[int, int], curve: Curve, held: Format, q: Tensor, scale: Tensor) -> QuantTensor:
    return arithmetic_of(held, q.device).activate(curve, QuantTensor(q, scale, tile))


def _activated_gated(
    tile: tuple[int, int], curve: Curve, held: Format, gate_q: Tensor, gate_scale: Tensor, q: Tensor, scale: Tensor
) -> QuantTensor:
    gate, up = QuantTensor(gate_q, gate_scale, tile), QuantTensor(q, scale, tile)
    return arithmetic_of(held, q.device).activate_gated(curve, gate, up)


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
        arithmetic, g = arithmetic_of(ctx.held, q.device), Wire(*grads).read(ctx.held)
        dx = arithmetic.activate_backward(ctx.curve, QuantTensor(q, scale, ctx.tile), g, ctx.noise)
        return *send(dx), None, None, None


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
        gate, up = QuantTensor(gate_q, gate_scale, ctx.tile), QuantTensor(up_q, up_scale, ctx.tile)
        arithmetic, g = arithmetic_of(ctx.held, gate_q.device), Wire(*grads).read(ctx.held)
        to_gate, to_up = arithmetic.activate_gated_backward(ctx.curve, gate, up, g, ctx.noise)
        return *send(to_gate), *send(to_up), None, None, None
