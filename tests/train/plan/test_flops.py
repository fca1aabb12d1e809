"""FLOPs against torch's own counter on real runs, and against formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, conv_backward_flop

from configs.errors import ConfigError
from data.loader import Batch
from model.backends.backend import Request
from model.int8.block import Int8Linear
from model.visibility import BlockLocal, Causal, Everything, Global, Places, SameSegment, Visibility, Window, dense_mask
from tests.conftest import ROOT
from tests.train.plan.recipes import BUILDERS, IN_INT8, PATHS, batch_for, real, recipe_at
from train.objectives.objective import Objective
from train.objectives.of_recipe import builder_of, objective_of
from train.plan.attention import num_pairs
from train.plan.batches import batch_of
from train.plan.flops import count, flops_of, step_flops
from train.recipe import load_recipe

TOLERANCE = 0.02


def _conv_backward(*args: Any, out_shape: Any, **_more: Any) -> float:
    """As torch counts it; but it takes the gradient of a grouped kernel for that of a whole one."""
    *rest, groups, wanted = args
    of_input = conv_backward_flop(*rest, groups, [wanted[0], False, False], out_val=out_shape)
    of_kernel = conv_backward_flop(*rest, groups, [False, wanted[1], False], out_val=out_shape)
    return of_input + of_kernel // groups


CORRECTIONS = {
    torch.ops.aten.convolution_backward: _conv_backward,
    # By which the loss adds to the gradient of the output matrix: torch knows only addmm.
    torch.ops.aten.addmm_: lambda _total, a, b, **_: 2 * a[0] * a[1] * b[1],
}


def counted_by_torch(build: Callable[[], Objective], batch: Batch) -> float:
    """Forward and backward of a real run. Attention by matrices, all pairs of them: in kernels torch cannot see it."""
    objective = real(build)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False, custom_mapping=CORRECTIONS) as counter:
        objective(batch)["loss"].backward()
    return counter.get_total_flops()


def check(build: Callable[[], Objective], batch: Batch) -> None:
    found = count(build, batch, dense=True)
    assert found.products + found.attention == pytest.approx(counted_by_torch(build, batch), rel=TOLERANCE)


@pytest.mark.parametrize("path", PATHS)
def test_recipes_cost_what_torch_counts(path: str) -> None:
    recipe = recipe_at(path)
    check(builder_of(recipe), batch_of(recipe, 4))


@pytest.mark.parametrize("path", IN_INT8)
def test_what_is_in_8_bits_costs_what_it_costs_in_float32(path: str) -> None:
    recipe = recipe_at(path, *IN_INT8[path])
    in_float32 = recipe_at(path, *IN_INT8[path], "precision=float32")
    found, expected = (count(builder_of(item), batch_of(item, 2)) for item in (recipe, in_float32))
    assert (found.products, found.attention) == (expected.products, expected.attention)
    check(builder_of(recipe), batch_of(recipe, 4))
    assert expected.int8 == 0
    modules = objective_of(recipe).modules()
    weights = sum(item.weight.numel() for item in modules if isinstance(item, Int8Linear))
    assert 0.2 * found.products < found.int8 < found.products
    if path == "quickstart.yaml":  # others leave tokens out, or ask for no gradient of some
        assert found.int8 == 6 * weights * 2 * 128


def test_nothing_is_drawn_where_numbers_have_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a real recipe that takes minutes."""

    def draw(*_: Any) -> None:
        raise AssertionError("random words were drawn")

    monkeypatch.setattr("model.int8.philox.random_words", draw)
    recipe = recipe_at("quickstart.yaml", "precision=int8", "model.dropout=0.1")
    with pytest.raises(AssertionError, match="random words"):
        builder_of(recipe)()(batch_of(recipe, 1))["loss"].backward()
    assert count(builder_of(recipe), batch_of(recipe, 1)).int8 > 0


@pytest.mark.parametrize("name", BUILDERS)
def test_models_of_every_kind_cost_what_torch_counts(name: str) -> None:
    check(BUILDERS[name], batch_for(name))


def test_a_grouped_convolution_costs_what_its_groups_cost_one_by_one() -> None:
    whole = recipe_at("audio/wav2vec2_asterisk.yaml", "model.positions.groups=1")
    grouped = recipe_at("audio/wav2vec2_asterisk.yaml", "model.positions.groups=8")
    batch = batch_of(whole, 1)
    frames, width, kernel = 98, 128, 32
    # An even kernel is laid over one place more than there are.
    saved = 3 * 2 * (frames + 1) * kernel * width * width * (1 - 1 / 8)
    assert count(builder_of(whole), batch).products - count(builder_of(grouped), batch).products == saved


@pytest.mark.parametrize(
    ("rule", "pairs"),
    [
        (Everything(), 100),
        (Causal(), 55),
        (Causal() & Window(3, 0), 10 * 4 - 3 - 2 - 1),
        (Window(1, 1), 28),
        (BlockLocal(4), 16 + 16 + 4),
        (BlockLocal(5) | Global(1), 50 + 5 + 5),
    ],
)
def test_pairs_are_those_that_a_rule_shows(rule: Visibility, pairs: int) -> None:
    assert num_pairs(_request(rule, 10)) == pairs
    assert num_pairs(_request(rule, 10), dense=True) == 100


def test_pairs_of_documents_are_the_mean_over_rows() -> None:
    segments = torch.tensor([[0, 0, 0, 1], [0, 1, 1, -1]])
    assert num_pairs(_request(SameSegment(), 4, segments)) == ((9 + 1) + (1 + 4)) / 2


@pytest.mark.parametrize("rule", [Causal(), Causal() & Window(500, 0), BlockLocal(512)])
def test_of_long_rows_some_queries_tell_all_pairs(rule: Visibility) -> None:
    request = _request(rule, 8192)
    every = sum(int(dense_mask(rule, Places(part), request.key).sum()) for part in request.query.index.split(512, 1))
    assert num_pairs(request) == pytest.approx(every, rel=1e-3)


def _request(rule: Visibility, length: int, segments: torch.Tensor | None = None) -> Request:
    places = Places(torch.arange(length)[None], segments)
    return Request(rule, places, places, torch.device("cpu"), torch.float32)


def test_a_decoder_costs_six_flops_a_weight_and_six_for_the_attention_of_half_the_row() -> None:
    """The rule of thumb (Kaplan et al. 2020, table 1; Chowdhery et al. 2022, appendix B), for GPT-2 124M."""
    recipe = load_recipe(ROOT / "configs/text/gpt2_124m.yaml")
    found, width, layers, length = flops_of(recipe), 768, 12, 1024
    matrices = layers * 12 * width**2 + 50304 * width
    assert found.constant == pytest.approx(6 * matrices, rel=1e-12)
    assert found.per_length * length == pytest.approx(6 * layers * width * (length + 1), rel=1e-12)
    assert step_flops(recipe) == pytest.approx(found.per_token(length) * length * 512, rel=1e-12)


def test_what_is_frozen_costs_no_gradient_of_weights_and_what_is_below_it_no_gradient_at_all() -> None:
    def with_edits(*edits: dict[str, Any]) -> float:
        return flops_of(recipe_at("quickstart.yaml", f"surgery={list(edits)}")).constant

    of_block, of_head = 2 * (4 * 192**2 + 3 * 192 * 512), 2 * 4096 * 192
    assert with_edits() == 3 * (4 * of_block + of_head)
    blocks = {"kind": "freeze", "select": ["transformer.blocks.**"]}
    assert with_edits(blocks) == 2 * 4 * of_block + 3 * of_head
    below = {"kind": "freeze", "select": ["transformer.blocks.**", "transformer.embedder.**"]}
    assert with_edits(below) == 4 * of_block + 2 * of_head


def test_an_encoder_of_a_masked_autoencoder_costs_what_its_visible_patches_cost() -> None:
    costs = {}
    for ratio in (0.25, 0.75):
        mask = f"{{kind: random_mask, size: 28, patch_size: 7, ratio: {ratio}}}"
        transforms = f"data.train.transforms=[{{kind: normalize, mean: [0.13], std: [0.31]}}, {mask}]"
        recipe = recipe_at("image/mae_mnist.yaml", transforms)
        costs[ratio] = count(builder_of(recipe), batch_of(recipe, 1)).products
    # Eight patches more through four blocks, and into the decoder.
    assert costs[0.25] - costs[0.75] == 3 * 2 * 8 * (4 * 12 * 64**2 + 64 * 48)


def test_a_model_of_70_billion_parameters_is_counted() -> None:
    """Llama 3 70B (Dubey et al. 2024, table 3)."""
    overrides = {
        "model.embedder.vocab_size": 128256,
        "model.embedder.max_length": 8192,
        "model.dim": 8192,
        "model.num_layers": 80,
        "model.mixer.num_heads": 64,
        "model.mixer.num_kv_heads": 8,
        "model.hidden_dim": 28672,
        "objective.tied_head": "false",
        "data.train.length": 8192,
        "data.validation.length": 8192,
        "batch.micro": 1,
    }
    found = flops_of(recipe_at("quickstart.yaml", *(f"{key}={value}" for key, value in overrides.items())))
    matrices = 80 * (2 * 8192**2 + 2 * 8192 * 1024 + 3 * 8192 * 28672) + 128256 * 8192
    assert found.constant == pytest.approx(6 * matrices, rel=1e-12)
    assert found.per_length == pytest.approx(6 * 80 * 8192, rel=1e-3)


def test_seconds_without_a_rate_are_refused_where_no_shards_are() -> None:
    with pytest.raises(ConfigError, match="Pack the shards first"):
        flops_of(load_recipe(ROOT / "configs/audio/wav2vec2_asterisk.yaml", ["data.train.shards=nowhere.tar"]))
