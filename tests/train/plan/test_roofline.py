"""One block operator by operator: against what autograd keeps and what is counted; times beside the published."""

from __future__ import annotations

from typing import Any

import pytest

from model.options import BlockOptions
from tests.train.plan.recipes import recipe_at
from tests.train.plan.test_time import PAGE
from train.objectives.of_recipe import builder_of
from train.plan.activations import activations_of
from train.plan.batches import batch_of
from train.plan.flops import count
from train.plan.gpus import find_gpu
from train.plan.roofline import Compared, Flow, Operator, Size, compared, operators_of
from train.plan.time import CASES
from train.recipe import Recipe

BLOCKS = {
    "gelu": ["model.feed_forward=gelu", "model.norm=layer", "model.positions=learned"],
    "swiglu": [],
    "grouped queries": ["model.mixer.num_kv_heads=2"],
}
PUBLISHED = {
    ("linear", 4096): "1.6",
    ("activation", 4096): "1.8",
    ("norm", 4096): "1.4 forward, to 1.9 backward",
    ("block", 4096): "1.42",
    ("block", 1024): "1.07",
}
"Of Jetfire (Xi et al. 2024) on an RTX 4090: times as fast as float16, by operator and width."


def sized(kind: str, num_layers: int, precision: str) -> Recipe:
    changes = ["model.dim=256", "model.mixer.num_heads=8", f"model.num_layers={num_layers}", f"precision={precision}"]
    return recipe_at("quickstart.yaml", *BLOCKS[kind], *changes)


def of_block(recipe: Recipe) -> BlockOptions:
    block: BlockOptions = recipe.model.blocks[0]  # type: ignore[union-attr]
    return block


def operators(kind: str, flow: Flow, tokens: int) -> dict[str, Operator]:
    found = operators_of(of_block(sized(kind, 2, "float32")), Size(tokens, 0.0), flow)
    return {item.name: item for item in found}


@pytest.mark.parametrize("flow", ["bf16", "int8"])
@pytest.mark.parametrize("kind", BLOCKS)
def test_what_operators_keep_is_what_autograd_keeps_of_another_block(kind: str, flow: Flow) -> None:
    kept = []
    for num_layers in (2, 3):
        recipe = sized(kind, num_layers, "int8" if flow == "int8" else "bf16")
        cast: Any = "autocast" if flow == "int8" else "weights"
        kept.append(activations_of(builder_of(recipe), batch_of(recipe, 8), device="cuda", cast=cast).saved)
    expected = sum(item.saved for item in operators(kind, flow, 8 * 128).values())
    assert kept[1] - kept[0] == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("kind", BLOCKS)
def test_products_are_those_that_are_counted(kind: str) -> None:
    counts = []
    for num_layers in (2, 3):
        recipe = sized(kind, num_layers, "int8")
        counts.append(count(builder_of(recipe), batch_of(recipe, 2)).int8)
    linear = operators(kind, "int8", 2 * 128)["linear"]
    assert sum(work.operations for work in [*linear.forward, *linear.backward]) == counts[1] - counts[0]


def test_what_is_bound_by_memory_gains_what_its_bytes_shrink_and_attention_nothing() -> None:
    rows = {row.name: row for row in of_the_paper(4096)}
    assert rows["norm"].faster("typical") == pytest.approx(2 / (1 + 4 / 1024))
    assert rows["attention"].faster("low") == rows["attention"].faster("high") == 1
    for case in CASES:
        total = sum(sum(row.int8[case]) for name, row in rows.items() if name != "block")
        assert sum(rows["block"].int8[case]) == pytest.approx(total)


def of_the_paper(width: int) -> list[Compared]:
    """GPT-2's block with heads of 64, as in the paper; 16 rows of 1,024 tokens, causal."""
    block = BlockOptions.model_validate(
        {
            "dim": width,
            "mixer": {"kind": "attention", "num_heads": width // 64},
            "feed_forward": "gelu",
            "norm": "layer",
            "positions": "learned",
        }
    )
    return compared(block, Size(16 * 1024, 6.0 * width * 1024), find_gpu("rtx4090"))


@pytest.mark.parametrize(("name", "width"), PUBLISHED)
def test_the_page_shows_what_the_paper_published_beside_what_is_predicted(name: str, width: int) -> None:
    row = next(item for item in of_the_paper(width) if item.name == name)
    low, typical, high = (row.faster(case) for case in CASES)
    line = f"| {name}, width {width:,} | {PUBLISHED[name, width]} | {low:.2f} | {typical:.2f} | {high:.2f} |"
    assert line in PAGE, line


def test_the_block_of_width_4096_lies_near_the_low_end_and_that_of_1024_outside() -> None:
    """What the page says of its table; the low end is set by the published linear layers, and by nothing else."""
    wide, narrow = (of_the_paper(width)[-1] for width in (4096, 1024))
    assert wide.faster("low") == pytest.approx(1.42, rel=0.1)
    assert (narrow.faster("low") or 0) > 1.07 * 1.1
    kept = {flow: wide.saved[flow] for flow in ("bf16", "int8")}
    assert kept["bf16"] / kept["int8"] > 1.49


def test_a_block_that_has_no_8_bit_form_is_refused() -> None:
    mixer = {"kind": "attention", "num_heads": 4}
    block = BlockOptions.model_validate({"dim": 64, "mixer": mixer, "norm_place": "post"})
    with pytest.raises(ValueError, match="norm_place: post"):
        operators_of(block, Size(1, 0.0), "int8")
