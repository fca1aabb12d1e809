"""What gathering costs: memory grows with the row, not with its square."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from model.backends.backend import Backend
from model.backends.gather import Gather, _plan
from model.backends.reference import Reference
from model.backends.sdpa import SDPA
from model.visibility import BlockLocal, Causal, Dilated, Everything, Global, Places, Visibility, Window
from tests.model.backends.cases import problem

NEAR = [Causal() & Window(32, 0), Window(16, 16), BlockLocal(32), Causal() & (Window(32, 0) | Global(4))]


class Largest(TorchDispatchMode):
    """Numbers in the largest tensor that any operation gives, views and overlaps not counted twice."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outcome = func(*args, **(kwargs or {}))
        for tensor in outcome if isinstance(outcome, tuple | list) else [outcome]:
            if isinstance(tensor, Tensor):
                self.numel = max(self.numel, tensor.untyped_storage().nbytes() // tensor.element_size())
        return outcome


def cost(backend: Backend, rule: Visibility, length: int, softcap: float | None) -> tuple[int, int]:
    """Numbers in the largest tensor of a forward and backward pass, and in all that is saved in between."""
    where = Places(torch.arange(length)[None])
    one = problem(rule, where, where, batch=1, heads=(1, 1), softcap=softcap)
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // tensor.element_size()
        return tensor

    with Largest() as largest:
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            outputs = one.outputs(backend)
        one.gradients(outputs)
    return largest.numel, sum(saved.values())


@pytest.mark.parametrize("softcap", [None, 2.0], ids=["plain", "softcap"])
@pytest.mark.parametrize("rule", NEAR, ids=str)
def test_four_times_the_row_takes_four_times_the_memory(rule: Visibility, softcap: float | None) -> None:
    backend = Gather(smallest_block=16)
    (small, small_saved), (large, large_saved) = (cost(backend, rule, length, softcap) for length in (512, 2048))
    assert large <= 4.1 * small
    assert large_saved <= 4.1 * small_saved
    assert large < 2048 * 2048 / 10


@pytest.mark.parametrize(("backend", "softcap"), [(SDPA(), None), (Reference(), 2.0)], ids=["sdpa", "reference"])
def test_a_dense_mask_takes_sixteen_times(backend: Backend, softcap: float | None) -> None:
    (small, small_saved), (large, large_saved) = (cost(backend, NEAR[0], length, softcap) for length in (512, 2048))
    assert large == 16 * small == 2048 * 2048
    assert large_saved > 12 * small_saved


def test_blocks_of_the_rule_are_gathered_alone() -> None:
    blocks = _plan(BlockLocal(100), 4096, 64)
    assert blocks is not None
    assert (blocks.before, blocks.after) == (0, 0)
    assert blocks.size % 100 == 0


@pytest.mark.parametrize("length", [100, 4096])
def test_a_causal_window_gathers_nothing_from_behind(length: int) -> None:
    blocks = _plan(Causal() & Window(256, 256), length, 64)
    assert blocks is not None
    assert (blocks.before, blocks.after) == (256, 0)


@pytest.mark.parametrize(
    "rule",
    [Everything(), Causal(), Dilated(3), Causal() | Window(3, 3), Window(3, 3) | Dilated(2) & Causal()],
    ids=str,
)
def test_rules_without_a_bound_are_objected_to(rule: Visibility) -> None:
    where = Places(torch.arange(64)[None])
    objection = Gather().objection(problem(rule, where, where, batch=1).request)
    assert objection == f"gather needs a rule that bounds how far a token sees, found {rule}"
