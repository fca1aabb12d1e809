"""Integers with scales: error bounds, rounding, random numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model.int8.philox import philox, random_words
from model.int8.quant_tensor import PER_CHANNEL, PER_TENSOR, PER_TOKEN, SQUARE, Format, Noise, quantise

FORMATS = [SQUARE, PER_TOKEN, PER_CHANNEL, PER_TENSOR, Format((32, 32), bits=4), Format((16, 64))]
SHAPES = [(64, 128), (1, 1), (33, 31), (100, 1000)]


def matrix(num_rows: int, num_columns: int, seed: int = 0) -> Tensor:
    """Normal, with magnitudes that differ from row to row and from column to column."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(num_rows, 1, generator=generator).exp()
    columns = torch.randn(1, num_columns, generator=generator).exp()
    return torch.randn(num_rows, num_columns, generator=generator) * rows * columns


def scales_one_by_one(x: Tensor, held: Format) -> Tensor:
    """The scale of every element, tile after tile."""
    rows, columns = held.tile_of(*x.shape)
    scales = torch.empty_like(x)
    for row in range(0, x.shape[0], rows):
        for column in range(0, x.shape[1], columns):
            tile = slice(row, row + rows), slice(column, column + columns)
            scales[tile] = x[tile].abs().max() / (2 ** (held.bits - 1) - 1)
    return scales


@pytest.mark.parametrize("held", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_error_is_within_half_a_scale_of_the_tile(held: Format, shape: tuple[int, int]) -> None:
    x = matrix(*shape)
    found, scales = quantise(x, held), scales_one_by_one(x, held)
    assert found.q.dtype == torch.int8
    assert found.q.shape == x.shape
    assert torch.equal(found.scales(), scales)
    # float32 carries 2^-24 of the value, which is at most 127 scales, through two roundings.
    assert ((found.dequantise() - x).abs() <= scales * (0.5 + 2**-16)).all()
    noisy = quantise(x, held, Noise(3)).dequantise()
    assert ((noisy - x).abs() <= scales * (1 + 2**-16)).all()


@pytest.mark.parametrize("held", FORMATS)
def test_a_transpose_is_the_quantised_transpose(held: Format) -> None:
    x = matrix(33, 70)
    turned, again = quantise(x, held).transpose(), quantise(x.T, held.transpose())
    assert turned.tile == again.tile
    assert torch.equal(turned.q, again.q)
    assert torch.equal(turned.scale, again.scale)
    assert torch.equal(turned.dequantise(), quantise(x, held).dequantise().T)
    assert turned.q.data_ptr() == turned.transpose().q.data_ptr()


def test_halves_are_rounded_to_even() -> None:
    x = torch.tensor([[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5]])
    assert quantise(x).q.tolist() == [[127, 0, 2, 2, 0, -2, -2]]


def test_tiles_of_zeros_are_zeros() -> None:
    x = torch.zeros(40, 40)
    x[:32, :32] = 1.0
    for noise in (None, Noise(0)):
        assert torch.equal(quantise(x, noise=noise).dequantise(), x)


@pytest.mark.parametrize("exponent", [-90, -60, -27, 90])
def test_the_error_does_not_depend_on_the_magnitude(exponent: int) -> None:
    """float16 scales would have none of these; gradients are often around 2^-27."""
    x, factor = matrix(32, 32), 2.0**exponent
    assert torch.equal(quantise(x * factor).dequantise(), quantise(x).dequantise() * factor)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_stays_so(bad: float) -> None:
    x = matrix(64, 64)
    x[3, 5] = bad
    found = quantise(x).dequantise()
    assert not found[3, 5].isfinite()
    assert found[32:].isfinite().all()


@pytest.mark.parametrize("held", [SQUARE, Format((32, 32), bits=4)])
def test_stochastic_rounding_has_no_bias(held: Format) -> None:
    x, num_draws = matrix(33, 20), 2000
    scales = quantise(x, held).scales()
    total = torch.zeros_like(x, dtype=torch.float64)
    for seed in range(num_draws):
        total += (quantise(x, held, Noise(seed)).dequantise() - x) / scales
    mean = total / num_draws
    assert abs(mean.mean()) < 0.01
    # Each element on its own: the standard error is at most 0.5 / sqrt(2000); 5 of them for 660 elements.
    assert mean.abs().max() < 5 * 0.5 / num_draws**0.5


def test_whole_numbers_of_scales_are_never_moved() -> None:
    x = torch.arange(-127.0, 128.0)[None, :].repeat(64, 1)
    for seed in range(20):
        assert torch.equal(quantise(x, PER_TENSOR, Noise(seed)).dequantise(), x)


def test_random_words_are_those_of_the_paper() -> None:
    """Known answers of philox4x32 with 7 rounds, from the authors' library Random123."""
    known = [
        ((0, 0, 0, 0), 0, (0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48)),
        ((0xFFFFFFFF,) * 4, (1 << 64) - 1, (0x5207DDC2, 0x45165E59, 0x4D8EE751, 0x8C52F662)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            0x299F31D0A4093822,
            (0x4DFCCABA, 0x190A87F0, 0xC47362BA, 0xB6B5242A),
        ),
    ]
    for counter, key, words in known:
        c0, c1, c2, c3 = (torch.tensor(word) for word in counter)
        assert tuple(int(word) for word in philox((c0, c1, c2, c3), key)) == words


def test_a_random_word_is_a_function_of_its_place() -> None:
    device = torch.device("cpu")
    whole = random_words(7, 0, (40, 50), device)
    assert torch.equal(random_words(7, 0, (13, 22), device), whole[:13, :22])
    for seed, stream in ((8, 0), (7, 1), (7 + (1 << 40), 0)):
        assert (random_words(seed, stream, (40, 50), device) == whole).sum() == 0
