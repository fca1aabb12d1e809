"""Operators on 8-bit matrices against float64 autograd of the same mathematics on the same (rounded) operands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear, rms_norm, silu
from torch.utils.checkpoint import checkpoint

from model.int8.arithmetic import arithmetic_of
from model.int8.operators import activation, boundary, dropout, norm, residual
from model.int8.operators import linear as products
from model.int8.operators.wire import Wire, draw_noise, send
from model.int8.quant_tensor import PER_TENSOR, PER_TOKEN, SQUARE, Format, Noise, quantise

WIDTHS = [64, 128, 384, 1000]
FORMATS = [SQUARE, PER_TOKEN, PER_TENSOR]
ROWS, OUT, EPS = 50, 72, 1e-5
FLOAT = 2.0**-24


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


@dataclass
class Case:
    """An operator, and the definition it stands for."""

    operator: Callable[..., Wire]
    "Of wires, then parameters."
    definition: Callable[..., Tensor]
    "Of the same in float64."
    wires: list[Tensor]
    "Values of the inputs."
    parameters: list[Tensor]
    gradient: Tensor
    terms: int = 16
    "float32 roundings on the way, each of a part of what is added up."


def cases(width: int, held: Format, noise: Noise) -> dict[str, Case]:
    x, wide, out = normal(ROWS, width), normal(ROWS, width, seed=1), normal(ROWS, OUT, seed=2, scale=1e-6)
    grad = normal(ROWS, width, seed=3, scale=1e-6)
    weight, bias, gain = normal(OUT, width, seed=4, scale=0.1), normal(OUT, seed=5), 1 + normal(width, seed=6) / 4
    shift, rounded = normal(width, seed=7), quantise(weight)
    exact = rounded.dequantise().double()

    def layer(x: Wire, w: Tensor, b: Tensor) -> Wire:
        return norm.layer_norm(x, boundary.moments(x, held), w, b, EPS, held, noise)

    def rms(x: Wire, w: Tensor) -> Wire:
        return norm.rms_norm(x, boundary.moments(x, held), w, EPS, held, noise)

    return {
        "linear": Case(
            lambda x, w, b: products.linear(x, w, rounded, b, held, noise),
            lambda x, w, b: linear(x, w + (exact - w.detach()), b),
            [x], [weight, bias], out, width,
        ),
        "layer norm": Case(
            layer, lambda x, w, b: layer_norm(x, (width,), w, b, EPS), [x * 3 + 1], [gain, shift], grad
        ),
        "rms norm": Case(rms, lambda x, w: rms_norm(x, (width,), w, EPS), [x * 3 + 1], [gain], grad),
        "gelu": Case(lambda x: activation.activate(x, "gelu", held, noise), gelu, [x * 2], [], grad),
        "silu": Case(lambda x: activation.activate(x, "silu", held, noise), silu, [x * 2], [], grad),
        "geglu": Case(
            lambda x, y: activation.activate_gated(x, y, "gelu", held, noise),
            lambda x, y: gelu(x) * y,
            [x, wide], [], grad,
        ),
        "swiglu": Case(
            lambda x, y: activation.activate_gated(x, y, "silu", held, noise),
            lambda x, y: silu(x) * y,
            [x, wide], [], grad,
        ),
    }  # fmt: skip


NAMES = list(cases(64, SQUARE, Noise(0)))


def run(case: Case, held: Format) -> tuple[Wire, list[Tensor], list[Wire]]:
    """The result, gradients of parameters, and of inputs."""
    inputs = [Wire(w.payload.requires_grad_(), w.scale.requires_grad_()) for w in leaves(case.wires, held)]
    parameters = [p.clone().requires_grad_() for p in case.parameters]
    y = case.operator(*inputs, *parameters)
    found = torch.autograd.grad(
        [y.payload, y.scale], [t for w in inputs for t in w] + parameters, list(send(quantise(case.gradient, held)))
    )
    count = 2 * len(inputs)
    return y, list(found[count:]), [Wire(*found[at : at + 2]) for at in range(0, count, 2)]


def leaves(values: list[Tensor], held: Format) -> list[Wire]:
    return [send(quantise(value, held)) for value in values]


def expected(case: Case, held: Format) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    inputs = [quantise(value, held).dequantise().double().requires_grad_() for value in case.wires]
    parameters = [p.double().requires_grad_() for p in case.parameters]
    y = case.definition(*inputs, *parameters)
    gradient = quantise(case.gradient, held).dequantise().double()
    found = torch.autograd.grad(y, inputs + parameters, gradient)
    return y.detach(), list(found[len(inputs) :]), list(found[: len(inputs)])


def within(found: Wire, exact: Tensor, held: Format, steps: float, terms: int) -> None:
    """Off by at most `steps` scales, and by what float32 sums of that many terms may lose."""
    matrix = found.read(held)
    slack = terms * FLOAT * exact.abs().max()
    assert ((matrix.dequantise() - exact).abs() <= matrix.scales() * steps + slack).all()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("held", FORMATS)
@pytest.mark.parametrize("name", NAMES)
def test_results_and_gradients_are_those_of_float64(name: str, held: Format, width: int) -> None:
    case = cases(width, held, Noise(11))[name]
    y, parameters, inputs = run(case, held)
    exact_y, exact_parameters, exact_inputs = expected(case, held)
    within(y, exact_y, held, 0.5, case.terms)
    for found, exact in zip(inputs, exact_inputs, strict=True):
        within(found, exact, held, 1.0, case.terms + 2 * OUT)
    for found_p, exact_p in zip(parameters, exact_parameters, strict=True):
        # Never rounded to 8 bits: float32 sums over the rows.
        assert (found_p - exact_p).abs().max() <= (ROWS + case.terms) * FLOAT * ROWS * exact_p.abs().max()


def test_norm_of_rows_far_from_zero() -> None:
    """Mean 100 standard deviations: E[x^2] - mean^2 would have lost four of float32's seven digits."""
    held = Format((1, None), bits=8)
    x = normal(ROWS, 384) + 100
    wire = send(quantise(x, held))
    of = boundary.moments(wire, held)
    exact = wire.read(held).dequantise().double().var(1, correction=0)
    assert ((of.variance - exact).abs() <= 384 * FLOAT * exact).all()


def draws(values: list[Tensor]) -> list[Tensor]:
    """2,000 times the same tile of 32 rows: as many draws of its rounding."""
    return [value[:32].repeat(2000, 1) for value in values]


def assert_no_bias(found: Wire, exact: Tensor) -> None:
    """In scales: of all places together, and of every place within 5 standard errors (at most 0.5 / sqrt(2000))."""
    matrix = found.read(SQUARE)
    bias = ((matrix.dequantise() - exact) / matrix.scales()).view(2000, 32, -1).mean(0)
    assert abs(bias.mean()) < 0.01
    # Rounding to nearest would be off by up to 0.5 in places, though not on average.
    assert bias.abs().max() < 5 * 0.5 / 2000**0.5


@pytest.mark.parametrize("name", NAMES)
def test_what_backward_rounds_has_no_bias(name: str) -> None:
    case = cases(64, SQUARE, Noise(5))[name]
    case.wires, case.gradient = draws(case.wires), draws([case.gradient])[0]
    for found, exact in zip(run(case, SQUARE)[2], expected(case, SQUARE)[2], strict=True):
        assert_no_bias(found, exact)


def test_addition_gives_both_forms_and_adds_both_gradients() -> None:
    stream, branch = draws([normal(32, 64), normal(32, 64, seed=1)])
    stream.requires_grad_()
    wire = Wire(*(t.requires_grad_() for t in send(quantise(branch))))
    y, rounded, of = residual.add(stream, wire, SQUARE, Noise(0))
    assert torch.equal(y, stream + wire.read(SQUARE).dequantise())
    assert torch.equal(rounded.read(SQUARE).q, quantise(y).q)
    values = rounded.read(SQUARE).dequantise()
    assert ((of.mean - values.double().mean(1)).abs() <= 64 * FLOAT * values.abs().amax(1)).all()
    gradients = draws([normal(32, 64, seed=2), normal(32, 64, seed=3)])
    into = [gradients[0], *send(quantise(gradients[1]))]
    to_stream, *pair = torch.autograd.grad([y, *rounded], [stream, *wire], into)
    exact = gradients[0] + quantise(gradients[1]).dequantise()
    assert torch.equal(to_stream, exact)
    within(Wire(*pair), exact, SQUARE, 1.0, 16)
    assert_no_bias(Wire(*pair), exact)


@pytest.mark.parametrize("name", ["dequantise", "fork"])
def test_boundaries_round_without_bias(name: str) -> None:
    x, gradient = draws([normal(32, 64)])[0].requires_grad_(), draws([normal(32, 64, seed=1)])[0]
    wire = Wire(*(t.requires_grad_() for t in send(quantise(x))))
    if name == "dequantise":
        outputs, into, exact = [boundary.dequantise(wire, SQUARE, Noise(1))], [gradient], gradient
    else:
        ways = boundary.fork(wire, SQUARE, Noise(1), 2)
        outputs, into = [t for way in ways for t in way], [*send(quantise(gradient)), *send(quantise(gradient.flip(1)))]
        exact = quantise(gradient).dequantise() + quantise(gradient.flip(1)).dequantise()
    assert_no_bias(Wire(*torch.autograd.grad(outputs, list(wire), into)), exact)


def test_dropout_is_exact_forward_and_backward() -> None:
    x, grad = quantise(normal(400, 70)), quantise(normal(400, 70, seed=1))
    wire = Wire(*(t.requires_grad_() for t in send(x)))
    y = dropout.dropout(wire, 0.25, SQUARE, seed=5)
    back = Wire(*torch.autograd.grad(list(y), list(wire), list(send(grad))))
    kept = y.read(SQUARE).q != 0
    share = kept.sum() / (x.q != 0).sum()
    assert abs(share - 0.75) < 5 * (0.25 * 0.75 / kept.numel()) ** 0.5
    for before, after in ((x, y), (grad, back)):
        mask = kept | (x.q == 0)
        matrix = after.read(SQUARE)
        assert torch.equal(matrix.scale, before.scale / 0.75)
        assert torch.equal(matrix.q[x.q != 0], (before.q * mask)[x.q != 0])


def test_a_fork_adds_gradients_and_two_readers_without_one_are_an_error() -> None:
    x = normal(ROWS, 64).requires_grad_()

    def total(ways: tuple[Wire, ...]) -> Tensor:
        parts = [boundary.dequantise(way, SQUARE, Noise(5, number)) for number, way in enumerate(ways)]
        return sum((number + 1) * part.sum() for number, part in enumerate(parts))  # type: ignore[return-value]

    total(boundary.fork(boundary.quantise(x, SQUARE), SQUARE, Noise(6), 3)).backward()
    # Gradients 1, 2 and 3 everywhere are whole numbers of scales: rounding moves none of them.
    assert torch.allclose(x.grad, torch.full_like(x, 6.0), rtol=4 * FLOAT)
    wire = boundary.quantise(x, SQUARE)
    with pytest.raises(NotImplementedError, match="Float8"):
        total((wire, wire)).backward()


def small_block(x: Tensor, gain: Tensor, weight: Tensor) -> Tensor:
    wire = boundary.quantise(x, SQUARE)
    normed = norm.rms_norm(wire, boundary.moments(wire, SQUARE), gain, EPS, SQUARE, draw_noise())
    one, two = boundary.fork(normed, SQUARE, draw_noise(), 2)
    mixed = products.linear(one, weight, quantise(weight), None, SQUARE, draw_noise())
    branch = dropout.dropout(
        activation.activate_gated(mixed, two, "silu", SQUARE, draw_noise()), 0.1, SQUARE, draw_noise().seed
    )
    return x + boundary.dequantise(branch, SQUARE, draw_noise())


def test_a_recomputed_block_has_the_same_gradients() -> None:
    found = []
    for recompute in (False, True):
        x, gain, weight = normal(ROWS, 64), torch.ones(64), normal(64, 64, seed=1, scale=0.1)
        given = [t.requires_grad_() for t in (x, gain, weight)]
        torch.manual_seed(3)
        y = checkpoint(small_block, *given, use_reentrant=False) if recompute else small_block(*given)
        y.square().sum().backward()
        found.append([t.grad for t in given])
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


def test_what_is_kept_for_backward_is_8_bit() -> None:
    kept: list[Tensor] = []
    x, gain, weight = normal(256, 256).requires_grad_(), torch.ones(256), normal(256, 256, seed=1, scale=0.1)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        small_block(x, gain.requires_grad_(), weight.requires_grad_())
    # Inputs of the norm, of the product and of the gate (two), and the weight: 5 matrices of one byte an element,
    # 4 bytes of scale for 1,024 of them; statistics of rows and the gain of the norm.
    matrices = 5 * 256 * 256 * (1 + 4 / 1024)
    assert sum(t.nbytes for t in kept) == matrices + 4 * 256 + 4 * 256


def test_autocast_does_not_reach_into_products() -> None:
    a, b = quantise(normal(64, 64)), quantise(normal(64, 64, seed=1))
    with torch.autocast("cpu", torch.bfloat16):
        inside = arithmetic_of(SQUARE, a.q.device).matmul(a, b)
    assert torch.equal(inside, a.dequantise() @ b.dequantise())
