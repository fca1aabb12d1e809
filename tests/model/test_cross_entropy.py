"""The loss of an output layer, a few logits at a time, is the plain one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from model.cross_entropy import IGNORED, linear_cross_entropy
from model.embedders.text import TokenEmbedding
from model.heads import LMHead
from model.options import LMHeadOptions

Case = tuple[Tensor, Tensor, Tensor | None, Tensor]


def case(rows: int, width: int, entries: int, *, has_bias: bool, dtype: torch.dtype = torch.float64) -> Case:
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, width, generator=generator, dtype=torch.float64).to(dtype)
    weight = torch.randn(entries, width, generator=generator, dtype=torch.float64).to(dtype)
    bias = torch.randn(entries, generator=generator, dtype=torch.float64).to(dtype) if has_bias else None
    targets = torch.randint(0, entries, (rows,), generator=generator)
    targets[torch.rand(rows, generator=generator) < 0.3] = IGNORED
    for item in (x, weight, bias):
        if item is not None:
            item.requires_grad_()
    return x, weight, bias, targets


def plain(x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    logits = linear(x, weight, bias)
    return cross_entropy(
        logits.to(torch.promote_types(x.dtype, torch.float32)), targets, reduction="sum", ignore_index=IGNORED
    )


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(0, 9),
    width=st.integers(1, 5),
    entries=st.integers(1, 11),
    chunk=st.sampled_from([None, 1, 2, 4, 100]),
    has_bias=st.booleans(),
)
def test_loss_and_gradients_are_those_of_all_logits_at_once(
    rows: int, width: int, entries: int, chunk: int | None, has_bias: bool
) -> None:
    x, weight, bias, targets = case(rows, width, entries, has_bias=has_bias)
    wanted = [item for item in (x, weight, bias) if item is not None]
    ours, theirs = linear_cross_entropy(x, weight, targets, bias, chunk=chunk), plain(x, weight, bias, targets)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    for mine, other in zip(torch.autograd.grad(3 * ours, wanted), torch.autograd.grad(3 * theirs, wanted), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
def test_lower_precisions_agree_to_their_rounding(dtype: torch.dtype, tolerance: float) -> None:
    x, weight, bias, targets = case(64, 32, 500, has_bias=True, dtype=dtype)
    assert bias is not None
    ours, theirs = linear_cross_entropy(x, weight, targets, bias, chunk=7), plain(x, weight, bias, targets)
    assert ours.dtype == torch.float32
    assert float((ours - theirs).detach().abs() / theirs.detach()) < tolerance
    wanted = [x, weight, bias]
    for mine, other in zip(torch.autograd.grad(ours, wanted), torch.autograd.grad(theirs, wanted), strict=True):
        assert mine.dtype == dtype
        assert float((mine - other).float().abs().max() / other.float().abs().max()) < tolerance


def test_nothing_is_kept_without_gradients_or_for_frozen_parts() -> None:
    x, weight, _, targets = case(6, 4, 9, has_bias=False)
    with torch.no_grad():
        assert not linear_cross_entropy(x, weight, targets).requires_grad
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda item: kept.append(item.numel()) or item, lambda item: item):
        linear_cross_entropy(x, weight.detach(), targets).backward()
    assert sum(kept) == x.numel()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("has_bias", [True, False])
def test_a_heads_loss_is_that_of_its_logits(tied: bool, has_bias: bool) -> None:
    options = LMHeadOptions(tied=tied, bias=has_bias, transform="gelu", scale=0.5)
    head, embedding = LMHead(options, 8, 19).double(), TokenEmbedding(19, 8).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for item in head.parameters():
            item.normal_(generator=generator)
    x = torch.randn(2, 5, 8, dtype=torch.float64, generator=generator)
    targets = torch.randint(0, 19, (2, 5), generator=generator)
    targets[0, 3:] = IGNORED
    wanted = [*head.parameters(), *([embedding.weight] if tied else [])]
    ours = head(x, embedding, targets)
    theirs = cross_entropy(head(x, embedding).flatten(0, 1), targets.flatten(), reduction="sum")
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    for mine, other in zip(torch.autograd.grad(ours, wanted), torch.autograd.grad(theirs, wanted), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-11, atol=1e-11)


def test_peak_memory_is_a_third_of_that_of_all_logits() -> None:
    """In processes of their own, above what they hold before."""
    root = Path(__file__).parents[2]

    def peak_of(which: str) -> int:
        command = [sys.executable, "-m", "benchmarks.cross_entropy", "peak", which, "--tokens", "2048", "--dim", "256"]
        return int(subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout)

    assert peak_of("chunked") < 0.35 * peak_of("plain")
