"""Blocks in 8 bits against the same blocks in float32."""

from __future__ import annotations

import copy
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from configs.errors import ConfigError
from configs.recipe import merge
from model.int8 import block as int8_block
from model.int8.block import Int8Block, Int8Linear, forget_rounded, to_int8
from model.int8.options import Int8Options, require_int8
from model.int8.quant_tensor import Format
from model.options import TransformerOptions
from model.surgery.edit import Surgery
from model.surgery.options import LoRAOptions
from model.taps import taps
from model.transformer import Transformer

ROWS, LENGTH = 3, 40
SMALL: dict[str, Any] = {
    "embedder": {"kind": "text", "vocab_size": 29, "max_length": LENGTH},
    "dim": 64,
    "num_layers": 2,
    "mixer": {"kind": "attention", "num_heads": 4},
}
FORMS: dict[str, dict[str, Any]] = {
    "llama": {"mixer": {"num_kv_heads": 2}},
    "gpt": {"feed_forward": "gelu", "norm": "layer", "bias": True, "positions": "learned"},
    "silu": {"feed_forward": "silu", "mixer": {"qk_norm": "rms"}},
    "geglu": {"feed_forward": "geglu", "visibility": "bidirectional", "hidden_dim": 100},
}


def pair(int8: dict[str, Any] | None = None, **changes: Any) -> tuple[Transformer, Transformer]:
    """A transformer with weights of ordinary size, and the same in 8 bits."""
    torch.manual_seed(0)
    plain = Transformer(TransformerOptions.model_validate(merge(SMALL, changes)))
    for parameter in plain.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    rounded = copy.deepcopy(plain)
    to_int8(rounded, Int8Options.model_validate(int8 or {}))
    return plain, rounded


def tokens(seed: int = 0) -> Tensor:
    return torch.randint(0, 29, (ROWS, LENGTH), generator=torch.Generator().manual_seed(seed))


def gradients(model: Transformer, seed: int = 0) -> dict[str, Tensor]:
    """Of a random projection of the hidden states."""
    torch.manual_seed(seed)
    model.zero_grad()
    hidden = model(tokens()).x
    direction = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(7))
    (hidden * direction).mean().backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).detach().norm() / expected.detach().norm())


@pytest.mark.parametrize("form", FORMS)
def test_a_model_in_8_bits_is_the_model_but_for_rounding(form: str) -> None:
    """What is wrong is as large as a step of the grid: a quarter with 8 bits of what it is with 6."""
    plain, _ = pair(**FORMS[form])
    expected = {"output": plain(tokens()).x.detach(), **gradients(plain)}
    errors = []
    for bits in (8, 6):
        rounded = copy.deepcopy(plain)
        to_int8(rounded, Int8Options(bits=bits))
        found = {"output": rounded(tokens()).x.detach(), **gradients(rounded)}
        assert found.keys() == expected.keys()
        errors.append({name: distance(found[name], expected[name]) for name in expected})
    fine, coarse = errors
    assert fine["output"] < 0.1
    for name in expected:
        # A last bias knows nothing of what was rounded.
        is_exact = fine[name] == coarse[name] == 0
        assert is_exact or 0.12 < fine[name] / coarse[name] < 0.5, (name, fine[name], coarse[name])


@pytest.mark.parametrize("form", ["llama", "gpt"])
def test_gradients_have_no_bias(form: str) -> None:
    """The mean of draws comes as near to the exact gradient of the rounded forward pass as means of draws do."""
    _, rounded = pair(**FORMS[form])
    draws = [gradients(rounded, seed) for seed in range(24)]
    for name in draws[0]:
        stacked = torch.stack([draw[name] for draw in draws])
        halves = stacked[:12].mean(0), stacked[12:].mean(0)
        noise = (stacked - stacked.mean(0)).norm() / 24**0.5
        # Independent means of 12: their difference is about sqrt(2 / 12) of one draw's noise.
        assert (halves[0] - halves[1]).norm() < 3 * (2 / 12) ** 0.5 * noise + 1e-12, name


def test_names_shapes_and_values_of_parameters_stay() -> None:
    plain, rounded = pair()
    ours, theirs = rounded.state_dict(), plain.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert [type(block) for block in rounded.blocks] == [Int8Block] * 2


def test_recomputed_blocks_draw_the_same() -> None:
    _, rounded = pair(dropout=0.2)
    rounded.train()
    kept = gradients(rounded)
    rounded.recompute_blocks = True
    again = gradients(rounded)
    assert all(torch.equal(again[name], kept[name]) for name in kept)


def test_weights_are_rounded_once_until_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    _, rounded = pair()
    weights = {id(module.weight) for module in rounded.modules() if isinstance(module, Int8Linear)}
    calls: list[Tensor] = []

    def counted(held: Format, device: torch.device) -> Any:
        def quantise(x: Tensor) -> Any:
            calls.append(x)
            return original(held, device).quantise(x)

        return SimpleNamespace(quantise=quantise)

    original = int8_block.arithmetic_of
    monkeypatch.setattr(int8_block, "arithmetic_of", counted)
    for seed in range(4):
        gradients(rounded, seed)
    assert sorted(map(id, calls)) == sorted(weights)
    before = rounded(tokens()).x
    with torch.no_grad():
        for parameter in rounded.parameters():
            parameter.mul_(1.5)
    forget_rounded(rounded)
    assert distance(rounded(tokens()).x, before) > 0.1
    assert len(calls) == 2 * len(weights)


def test_decoding_step_by_step_is_in_high_precision() -> None:
    plain, rounded = pair()
    start = plain.start(ROWS, torch.device("cpu"), torch.float32)
    expected, _ = plain.step(plain.embed(tokens()[:, :9]), start)
    found, _ = rounded.step(rounded.embed(tokens()[:, :9]), start)
    assert torch.equal(found.x, expected.x)
    assert torch.allclose(found.x, plain(tokens()[:, :9]).x, atol=1e-5)


def test_a_layer_plan_leaves_blocks_out() -> None:
    plain, rounded = pair(plan=[{"int8": False}, {}])
    assert [isinstance(block, Int8Block) for block in rounded.blocks] == [False, True]
    seen = {}
    for name, model in (("plain", plain), ("rounded", rounded)):
        with taps(model, ["blocks.*", "blocks.*.mixer:queries"]) as seen[name]:
            model(tokens())
    assert torch.equal(seen["rounded"]["blocks.0"][0], seen["plain"]["blocks.0"][0])
    assert 0 < distance(seen["rounded"]["blocks.1"][0], seen["plain"]["blocks.1"][0]) < 0.05
    assert 0 < distance(seen["rounded"]["blocks.1.mixer:queries"][0], seen["plain"]["blocks.1.mixer:queries"][0]) < 0.05


def test_what_is_8_bits_between_modules_is_no_tensor_to_tap() -> None:
    _, rounded = pair()
    with taps(rounded, ["blocks.0.mixer"]), pytest.raises(TypeError, match="gives Wire, not a tensor"):
        rounded(tokens())


@pytest.mark.parametrize("tile", ["square", "token", "channel", "tensor"])
def test_fewer_bits_and_other_tiles_are_the_same_code(tile: str) -> None:
    plain, _ = pair()
    errors = []
    for bits in (8, 6, 4):
        rounded = copy.deepcopy(plain)
        to_int8(rounded, Int8Options.model_validate({"tile": tile, "bits": bits}))
        with torch.no_grad():
            errors.append(distance(rounded(tokens()).x, plain(tokens()).x))
    assert errors == sorted(errors)
    assert errors[2] > 3 * errors[0]


def test_rows_are_alone_where_tiles_are() -> None:
    """Rows of 32 tokens and more meet in no tile: a row does not change when the others do."""
    plain, _ = pair(embedder={"max_length": 64})
    rounded = copy.deepcopy(plain)
    to_int8(rounded, Int8Options())
    rows = torch.randint(0, 29, (2, 64), generator=torch.Generator().manual_seed(0))
    other = torch.cat((rows[:1], rows[1:].flip(1)))
    with torch.no_grad():
        assert torch.equal(rounded(rows).x[0], rounded(other).x[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm_place": "post"}, "block 0 has norm_place: post; an 8-bit block has norm_place: pre"),
        ({"norm_place": "sandwich"}, "norm_place: sandwich"),
        ({"parallel": True}, "parallel: true"),
        ({"layer_scale": 1e-4}, "layer_scale: 0.0001"),
        ({"feed_forward": "reglu"}, r"feed_forward: reglu; an 8-bit block has geglu \(gelu, silu, geglu, swiglu"),
        ({"feed_forward": "gelu_tanh"}, "feed_forward: gelu_tanh; an 8-bit block has gelu"),
        ({"plan": [{}, {"feed_forward": "relu"}]}, "block 1 has feed_forward: relu"),
        ({"plan": [{"mixer_norm": False}, {}]}, "mixer_norm: false"),
        ({"int8": False}, "every block of the model has int8: false"),
    ],
)
def test_what_cannot_be_is_refused_with_the_nearest_that_can(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        require_int8([TransformerOptions.model_validate(merge(SMALL, changes))])


def test_such_blocks_may_be_left_out() -> None:
    require_int8([TransformerOptions.model_validate(SMALL | {"plan": [{"feed_forward": "relu", "int8": False}, {}]})])


def test_adapters_are_refused() -> None:
    plain, _ = pair()
    holder = nn.ModuleDict({"transformer": plain})
    Surgery([LoRAOptions(select=["transformer.blocks.0.mixer.query"], rank=2, alpha=2.0)]).apply(holder)
    with pytest.raises(ConfigError, match=r"block 0 has AdaptedLinear as mixer\.query, which has no 8-bit form"):
        to_int8(holder, Int8Options())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tile": "token"}, "int8.tile=square int8.bits=8"),
        ({"bits": 4}, "int8.tile=square int8.bits=8"),
    ],
)
def test_kernels_that_there_are_not_are_refused_when_a_model_is_built(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"int8.kernels=triton: .*{message}"):
        pair(int8={"kernels": "triton"} | changes)


def test_kernels_on_a_cpu_are_refused_and_auto_takes_the_definitions() -> None:
    pytest.importorskip("triton", reason="without it the refusal is another")
    _, model = pair(int8={"kernels": "triton"})
    with pytest.raises(ConfigError, match=r"int8.kernels=triton: kernels run on CUDA devices, this is cpu"):
        model(tokens())
    (_, one), (_, other) = pair(int8={"kernels": "auto"}), pair(int8={"kernels": "plain"})
    assert torch.equal(one(tokens()).x, other(tokens()).x)


def test_kernels_without_triton_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(ConfigError, match="the package triton is not installed"):
        pair(int8={"kernels": "triton"})
