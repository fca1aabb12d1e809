"""Kernels against definitions in Triton's interpreter: started by test_kernels.py with TRITON_INTERPRET=1."""

from __future__ import annotations

import sys

import torch

from model.int8.arithmetic import arithmetic_of
from model.int8.operators import boundary, dropout, residual
from model.int8.operators.wire import Wire, send
from model.int8.quant_tensor import SQUARE, Format, Noise, QuantTensor, quantise
from tests.model.int8 import test_operators as operators
from tests.model.int8.test_block import FORMS, gradients, pair, tokens

HELD = Format(kernels="triton")
KERNELS, PLAIN = (arithmetic_of(held, torch.device("cpu")) for held in (HELD, SQUARE))
WIDTHS = (64, 128, 384, 1000)
NOISES = (None, Noise(7), Noise((1 << 62) - 5, 3))


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def same(one: QuantTensor, other: QuantTensor) -> None:
    assert one.tile == other.tile
    assert torch.equal(one.q, other.q)
    assert torch.equal(one.scale, other.scale)


def alike(one: QuantTensor, other: QuantTensor) -> None:
    """Equal, but where float32 sums in another order are rounded to the other side: rarely, and by one step."""
    assert one.tile == other.tile
    assert torch.allclose(one.scale, other.scale, rtol=1e-5)
    apart = (one.q.int() - other.q.int()).abs()
    assert apart.max() <= 1
    assert (apart > 0).float().mean() < 1e-3


def check_quantise() -> None:
    for width in WIDTHS:
        x = normal(70, width) * normal(1, width, seed=1).exp()
        x[:32, :32] = 0
        x[32:64, :32] *= 1e-30
        for noise in NOISES:
            same(KERNELS.quantise(x, noise), quantise(x, noise=noise))
        same(KERNELS.quantise(x.T, Noise(7)), quantise(x.T, noise=Noise(7)))
        held = quantise(x)
        assert torch.equal(KERNELS.dequantise(held, torch.float32), held.dequantise())
        # Not bfloat16: the interpreter truncates where hardware rounds.
        turned = held.transpose()
        assert torch.equal(KERNELS.dequantise(turned, torch.float16), held.dequantise(torch.float16).T)
    halves = torch.tensor([[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5]])
    same(KERNELS.quantise(halves), quantise(halves))
    for bad in (float("nan"), float("inf")):
        x = normal(40, 40)
        x[3, 3] = bad
        found = KERNELS.dequantise(KERNELS.quantise(x), torch.float32)
        assert not found[3, 3].isfinite()
        assert found[32:, 32:].isfinite().all()


def check_product() -> None:
    for width in WIDTHS:
        x, w, g = quantise(normal(70, width)), quantise(normal(40, width, seed=1)), quantise(normal(70, 40, seed=2))
        bias = normal(40, seed=3)
        for a, b in ((x, w.transpose()), (g, w), (g.transpose(), x)):
            exact = a.dequantise().double() @ b.dequantise().double()
            size = a.dequantise().double().abs() @ b.dequantise().double().abs()
            # K / 32 float32 additions, and a few roundings of every term.
            bound = (a.q.shape[1] / 32 + 4) * 2.0**-24 * size
            assert ((KERNELS.matmul(a, b) - exact).abs() <= bound).all()
            assert ((PLAIN.matmul(a, b) - exact).abs() <= bound * 32).all()
            for noise in NOISES:
                alike(KERNELS.matmul_rounded(a, b, None, noise), PLAIN.matmul_rounded(a, b, None, noise))
        found = KERNELS.matmul_rounded(x, w.transpose(), bias, None)
        alike(found, PLAIN.matmul_rounded(x, w.transpose(), bias, None))
    x.scale[0, 0] = float("nan")
    spoilt = KERNELS.matmul_rounded(x, w.transpose(), None, None)
    assert not spoilt.scale[0].isfinite().any()
    assert spoilt.scale[1:].isfinite().all()


def check_operators() -> None:
    """Results, and gradients of inputs and parameters; test_operators.py holds the definitions to float64."""
    for width in WIDTHS:
        for name in operators.NAMES:
            found = operators.run(operators.cases(width, HELD, Noise(11))[name], HELD)
            expected = operators.run(operators.cases(width, SQUARE, Noise(11))[name], SQUARE)
            for one, other in zip([found[0], *found[2]], [expected[0], *expected[2]], strict=True):
                alike(one.read(HELD), other.read(SQUARE))
            for one, other in zip(found[1], expected[1], strict=True):
                assert torch.allclose(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def leaf(seed: int, width: int) -> Wire:
    return Wire(*(part.requires_grad_() for part in send(quantise(normal(70, width, seed=seed)))))


def check_additions() -> None:
    for width in WIDTHS:
        found, expected = [], []
        for held, results in ((HELD, found), (SQUARE, expected)):
            stream, branch = normal(70, width, seed=9).add(3).requires_grad_(), leaf(1, width)
            summed, rounded, of = residual.add(stream, branch, held, Noise(5))
            into = [normal(70, width, seed=2), *send(quantise(normal(70, width, seed=3)))]
            to_stream, *to_branch = torch.autograd.grad([summed, *rounded], [stream, *branch], into)
            results += [summed, to_stream, *of, rounded.read(held), Wire(*to_branch).read(held)]
            for num_ways in (2, 3):
                x = leaf(4, width)
                ways = boundary.fork(x, held, Noise(6), num_ways)
                grads = [part for way in range(num_ways) for part in send(quantise(normal(70, width, seed=way)))]
                back = torch.autograd.grad([part for way in ways for part in way], list(x), grads)
                results.append(Wire(*back).read(held))
            x = leaf(7, width)
            kept = dropout.dropout(x, 0.3, held, seed=(1 << 61) + 3)
            back = torch.autograd.grad(list(kept), list(x), list(send(quantise(normal(70, width, seed=8)))))
            results += [kept.read(held), Wire(*back).read(held)]
        for one, other in zip(found, expected, strict=True):
            if isinstance(one, QuantTensor):
                same(one, other)
            else:
                assert torch.allclose(one, other, rtol=1e-6, atol=1e-6)


def check_moments() -> None:
    """Mean 100 standard deviations: a difference of squares would have lost four of float32's seven digits."""
    x = quantise(normal(70, 384) + 100)
    mean, variance = KERNELS.moments(x)
    exact = x.dequantise().double()
    assert torch.allclose(mean.double(), exact.mean(1), rtol=1e-6)
    assert torch.allclose(variance.double(), exact.var(1, correction=0), rtol=1e-4)


def check_transposed() -> None:
    """Matrices that do not lie row by row."""
    x, g, grad = (quantise(normal(64, 96, seed=seed)).transpose() for seed in range(3))
    gain, rstd, stream = normal(64).abs(), normal(96).abs(), normal(64, 96, seed=4).T
    pairs = [
        [
            arithmetic.activate("gelu", x),
            arithmetic.activate_backward("silu", x, g, Noise(1)),
            arithmetic.activate_gated("silu", x, g),
            *arithmetic.activate_gated_backward("gelu", x, g, grad, Noise(2)),
            arithmetic.total([x, g, grad], Noise(3)),
            arithmetic.mask(x, 0.5, 4),
            arithmetic.add(stream, x)[1],
            arithmetic.add_backward(stream, g, Noise(5))[1],
            arithmetic.normalise(x, None, rstd, gain, None),
            arithmetic.normalise_backward(x, None, rstd, gain, g, Noise(6))[0],
        ]
        for arithmetic in (KERNELS, PLAIN)
    ]
    for one, other in zip(*pairs, strict=True):
        alike(one, other)
    assert torch.allclose(KERNELS.column_sums(x), PLAIN.column_sums(x), rtol=1e-5, atol=1e-5)
    for one, other in zip(KERNELS.moments(x), PLAIN.moments(x), strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-6)


def check_block() -> None:
    """A model of kernels alone, forward and backward: nearer to the definitions than these are to float32."""
    for form in ("gpt", "llama"):
        results = []
        for kernels in ("triton", "plain"):
            exact, model = pair(int8={"kernels": kernels}, **FORMS[form])
            results.append({"output": model(tokens()).x.detach(), **gradients(model)})
        found, expected = results
        reference = {"output": exact(tokens()).x.detach(), **gradients(exact)}
        for name in reference:
            rounding = (expected[name] - reference[name]).norm()
            assert (found[name] - expected[name]).norm() < rounding or rounding == 0


if __name__ == "__main__":
    {name: check for name, check in globals().items() if name.startswith("check_")}[sys.argv[1]]()
