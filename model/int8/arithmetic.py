"""What operators compute, step by step: the definitions in plain PyTorch, and the choice between them and kernels.

Operators (`model.int8.operators`) say what is kept and what goes where; a step here takes and gives matrices. Each has
one definition, which computes in float32, and one kernel (`model.int8.kernels`), which tests hold to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import gelu, silu
from torch.utils.flop_counter import register_flop_formula

from configs.errors import ConfigError
from model.int8.philox import random_words_like
from model.int8.quant_tensor import SQUARE, Format, Noise, QuantTensor, quantise

Curve = Literal["gelu", "silu"]


class Moments(NamedTuple):
    """Of every row. The variance is of differences from the mean: a difference of squares would cancel."""

    mean: Tensor
    "float32 [N]."
    variance: Tensor
    "float32 [N]."


class Arithmetic(Protocol):
    """The steps, of matrices in one format; `noise` None rounds to nearest."""

    def quantise(self, x_NC: Tensor, noise: Noise | None = None) -> QuantTensor:
        """High precision to 8 bits."""

    def dequantise(self, x: QuantTensor, dtype: torch.dtype) -> Tensor:
        """And back: [N, C]."""

    def moments(self, x: QuantTensor) -> Moments:
        """Of the rounded values."""

    def total(self, parts: Sequence[QuantTensor], noise: Noise) -> QuantTensor:
        """Their sum, rounded once."""

    def column_sums(self, x: QuantTensor) -> Tensor:
        """float32 [C]."""

    def matmul(self, a_MK: QuantTensor, b_KN: QuantTensor) -> Tensor:
        """The product, float32 [M, N]."""

    def matmul_rounded(
        self, a_MK: QuantTensor, b_KN: QuantTensor, bias_N: Tensor | None, noise: Noise | None
    ) -> QuantTensor:
        """The product and a bias, rounded."""

    def normalise(
        self,
        x: QuantTensor,
        mean_N: Tensor | None,
        rstd_N: Tensor,
        weight_C: Tensor,
        bias_C: Tensor | None,
    ) -> QuantTensor:
        """(x - mean) * rstd * weight + bias."""

    def normalise_backward(
        self,
        x: QuantTensor,
        mean_N: Tensor | None,
        rstd_N: Tensor,
        weight_C: Tensor,
        g: QuantTensor,
        noise: Noise,
    ) -> tuple[QuantTensor, Tensor, Tensor]:
        """Gradients of x (mean and rstd are functions of it), weight and bias."""

    def activate(self, curve: Curve, x: QuantTensor) -> QuantTensor:
        """curve(x)."""

    def activate_backward(self, curve: Curve, x: QuantTensor, g: QuantTensor, noise: Noise) -> QuantTensor:
        """G * curve'(x)."""

    def activate_gated(self, curve: Curve, gate: QuantTensor, up: QuantTensor) -> QuantTensor:
        """curve(gate) * up."""

    def activate_gated_backward(
        self, curve: Curve, gate: QuantTensor, up: QuantTensor, g: QuantTensor, noise: Noise
    ) -> tuple[QuantTensor, QuantTensor]:
        """Of gate and up. Two tensors from one seed: the second has the next stream."""

    def mask(self, x: QuantTensor, probability: float, seed: int) -> QuantTensor:
        """Dropout: integers times a mask that the seed gives, scales over 1 - probability."""

    def add(self, stream_NC: Tensor, branch: QuantTensor) -> tuple[Tensor, QuantTensor, Moments]:
        """The sum, rounded too, and the moments of that."""

    def add_backward(self, grad_NC: Tensor, g: QuantTensor, noise: Noise) -> tuple[Tensor, QuantTensor]:
        """The sum of both gradients, rounded too."""


@dataclass(frozen=True)
class _Plain(Arithmetic):
    """The definitions."""

    held: Format

    def quantise(self, x_NC: Tensor, noise: Noise | None = None) -> QuantTensor:
        return quantise(x_NC, self.held, noise)

    def dequantise(self, x: QuantTensor, dtype: torch.dtype) -> Tensor:
        return x.dequantise(dtype)

    def moments(self, x: QuantTensor) -> Moments:
        variance_N, mean_N = torch.var_mean(x.dequantise(), dim=1, correction=0)
        return Moments(mean_N, variance_N)

    def total(self, parts: Sequence[QuantTensor], noise: Noise) -> QuantTensor:
        return quantise(torch.stack([part.dequantise() for part in parts]).sum(0), self.held, noise)

    def column_sums(self, x: QuantTensor) -> Tensor:
        return x.dequantise().sum(0)

    def matmul(self, a_MK: QuantTensor, b_KN: QuantTensor) -> Tensor:
        product: Tensor = _int8_matmul(a_MK.q, a_MK.scale, list(a_MK.tile), b_KN.q, b_KN.scale, list(b_KN.tile))
        return product

    def matmul_rounded(
        self, a_MK: QuantTensor, b_KN: QuantTensor, bias_N: Tensor | None, noise: Noise | None
    ) -> QuantTensor:
        y_MN = self.matmul(a_MK, b_KN)
        return quantise(y_MN if bias_N is None else y_MN + bias_N, self.held, noise)

    def normalise(
        self,
        x: QuantTensor,
        mean_N: Tensor | None,
        rstd_N: Tensor,
        weight_C: Tensor,
        bias_C: Tensor | None,
    ) -> QuantTensor:
        y_NC = _normalised(x, mean_N, rstd_N) * weight_C.float()
        return quantise(y_NC if bias_C is None else y_NC + bias_C.float(), self.held)

    def normalise_backward(
        self,
        x: QuantTensor,
        mean_N: Tensor | None,
        rstd_N: Tensor,
        weight_C: Tensor,
        g: QuantTensor,
        noise: Noise,
    ) -> tuple[QuantTensor, Tensor, Tensor]:
        normed_NC, g_NC = _normalised(x, mean_N, rstd_N), g.dequantise()
        pulled_NC = g_NC * weight_C.float()
        dx_NC = pulled_NC - normed_NC * (pulled_NC * normed_NC).mean(1, keepdim=True)
        if mean_N is not None:
            dx_NC = dx_NC - pulled_NC.mean(1, keepdim=True)
        return quantise(dx_NC * rstd_N[:, None], self.held, noise), (g_NC * normed_NC).sum(0), g_NC.sum(0)

    def activate(self, curve: Curve, x: QuantTensor) -> QuantTensor:
        return quantise(_value(curve, x.dequantise()), self.held)

    def activate_backward(self, curve: Curve, x: QuantTensor, g: QuantTensor, noise: Noise) -> QuantTensor:
        return quantise(g.dequantise() * _slope(curve, x.dequantise()), self.held, noise)

    def activate_gated(self, curve: Curve, gate: QuantTensor, up: QuantTensor) -> QuantTensor:
        return quantise(_value(curve, gate.dequantise()) * up.dequantise(), self.held)

    def activate_gated_backward(
        self, curve: Curve, gate: QuantTensor, up: QuantTensor, g: QuantTensor, noise: Noise
    ) -> tuple[QuantTensor, QuantTensor]:
        gate_NF, g_NF = gate.dequantise(), g.dequantise()
        to_gate = quantise(g_NF * up.dequantise() * _slope(curve, gate_NF), self.held, noise)
        return to_gate, quantise(g_NF * _value(curve, gate_NF), self.held, noise.next_stream())

    def mask(self, x: QuantTensor, probability: float, seed: int) -> QuantTensor:
        kept = random_words_like(x.q, seed, 0) >= int(probability * 2**32)
        return QuantTensor(x.q * kept, x.scale / (1 - probability), x.tile)

    def add(self, stream_NC: Tensor, branch: QuantTensor) -> tuple[Tensor, QuantTensor, Moments]:
        sum_NC = (stream_NC.float() + branch.dequantise()).to(stream_NC.dtype)
        rounded = quantise(sum_NC, self.held)
        return sum_NC, rounded, self.moments(rounded)

    def add_backward(self, grad_NC: Tensor, g: QuantTensor, noise: Noise) -> tuple[Tensor, QuantTensor]:
        total_NC = grad_NC.float() + g.dequantise()
        return total_NC.to(grad_NC.dtype), quantise(total_NC, self.held, noise)


@cache
def arithmetic_of(held: Format, device: torch.device) -> Arithmetic:
    """What computes matrices of this format on this device: what the format asks for.

    Raises:
        ConfigError: when kernels are asked for, and there are none for the format, the device or this installation.
    """
    if held.kernels == "plain" or (held.kernels == "auto" and (device.type != "cuda" or _objection(held) is not None)):
        return _Plain(held)
    require_kernels(held)
    from model.int8.kernels.steps import kernels_on

    return kernels_on(device)


def require_kernels(held: Format) -> None:
    """Check that there are kernels for a format, in this installation.

    Raises:
        ConfigError: saying what is missing.
    """
    found = _objection(held)
    if found is not None:
        raise ConfigError(f"int8.kernels=triton: {found}, or int8.kernels=plain.")


def _objection(held: Format) -> str | None:
    """Why there are no kernels for a format, in this installation; or None."""
    if held.tile != SQUARE.tile or held.bits != SQUARE.bits:
        return "there are kernels of 8 bits and square tiles alone; take int8.tile=square int8.bits=8"
    try:
        import triton  # noqa: F401
    except ImportError:
        return "the package triton is not installed; pip install triton"
    return None


@torch.library.custom_op("polytrain::int8_matmul", mutates_args=())
def _int8_matmul(
    a_MK: Tensor, a_scale: Tensor, a_tile: list[int], b_KN: Tensor, b_scale: Tensor, b_tile: list[int]
) -> Tensor:
    """An operator of its own for whoever watches operators: counters of FLOPs know it as 8-bit."""
    a, b = QuantTensor(a_MK, a_scale, (a_tile[0], a_tile[1])), QuantTensor(b_KN, b_scale, (b_tile[0], b_tile[1]))
    with torch.autocast(a_MK.device.type, enabled=False):
        return a.dequantise() @ b.dequantise()


@_int8_matmul.register_fake
def _(a_MK: Tensor, _a_scale: Tensor, _a_tile: list[int], b_KN: Tensor, _b_scale: Tensor, _b_tile: list[int]) -> Tensor:
    return a_MK.new_empty(a_MK.shape[0], b_KN.shape[1], dtype=torch.float32)


@register_flop_formula(torch.ops.polytrain.int8_matmul)
def _operations(
    a_MK: torch.Size, _a_scale: object, _a_tile: object, b_KN: torch.Size, *_: object, **_more: object
) -> int:
    """A multiply-add is 2, as of floating-point products."""
    return 2 * a_MK[0] * a_MK[1] * b_KN[1]


def _normalised(x: QuantTensor, mean_N: Tensor | None, rstd_N: Tensor) -> Tensor:
    x_NC = x.dequantise()
    return (x_NC if mean_N is None else x_NC - mean_N[:, None]) * rstd_N[:, None]


def _value(curve: Curve, x: Tensor) -> Tensor:
    """curve(x). The GELU is the exact one (Hendrycks and Gimpel 2016)."""
    return gelu(x) if curve == "gelu" else silu(x)


def _slope(curve: Curve, x: Tensor) -> Tensor:
    """Its derivative."""
    if curve == "gelu":
        return 0.5 * (1 + torch.erf(x / math.sqrt(2))) + x * torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    gate = torch.sigmoid(x)
    return gate * (1 + x * (1 - gate))
