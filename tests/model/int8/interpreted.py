"""Kernels against definitions in Triton's interpreter: started by test_kernels.py with TRITON_INTERPRET=1."""

from __future__ import annotations

import torch

from model.int8.kernels import product
from model.int8.kernels import quantise as kernels
from model.int8.operators import linear
from model.int8.quant_tensor import Noise, QuantTensor, quantise


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def same(one: QuantTensor, other: QuantTensor) -> None:
    assert one.tile == other.tile
    assert torch.equal(one.q, other.q)
    assert torch.equal(one.scale, other.scale)


def check_quantise() -> None:
    for width in (64, 128, 384, 1000):
        x = normal(70, width) * normal(1, width, seed=1).exp()
        x[:32, :32] = 0
        x[32:64, :32] *= 1e-30
        for noise in (None, Noise(7), Noise((1 << 62) - 5, 3)):
            same(kernels.quantise(x, noise), quantise(x, noise=noise))
        same(kernels.quantise(x.T, Noise(7)), quantise(x.T, noise=Noise(7)))
        held = quantise(x)
        assert torch.equal(kernels.dequantise(held), held.dequantise())
        # Not bfloat16: the interpreter truncates where hardware rounds.
        assert torch.equal(kernels.dequantise(held.transpose(), torch.float16), held.dequantise(torch.float16).T)
    halves = torch.tensor([[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5]])
    same(kernels.quantise(halves), quantise(halves))
    for bad in (float("nan"), float("inf")):
        x = normal(40, 40)
        x[3, 3] = bad
        found = kernels.dequantise(kernels.quantise(x))
        assert not found[3, 3].isfinite()
        assert found[32:, 32:].isfinite().all()


def check_product() -> None:
    for width in (64, 128, 384, 1000):
        x, w, g = quantise(normal(70, width)), quantise(normal(40, width, seed=1)), quantise(normal(70, 40, seed=2))
        for a, b in ((x, w.transpose()), (g, w), (g.transpose(), x)):
            exact = a.dequantise().double() @ b.dequantise().double()
            size = a.dequantise().double().abs() @ b.dequantise().double().abs()
            # K / 32 float32 additions, and a few roundings of every term.
            bound = (a.q.shape[1] / 32 + 4) * 2.0**-24 * size
            assert ((product.matmul(a, b) - exact).abs() <= bound).all()
            assert ((linear.matmul(a, b) - exact).abs() <= bound * 32).all()


if __name__ == "__main__":
    check_quantise()
    check_product()
