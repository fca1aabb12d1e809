"""What autograd keeps for backward, by the kind of module that keeps it: counted in a real step, in any precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from model.block import Block
from train.metrics import Row


class SavedBytes:
    """The bytes of one micro-batch, counted in one step of a run.

    Every storage counts once. Parameters do not count; their casts to another precision and rounded copies do, and so
    does a batch. With activation checkpointing it is what stays while other blocks compute.
    """

    def __init__(self, module: nn.Module, step: int | None) -> None:
        """Count in `step`; None: never."""
        self._module = module
        self._step = step
        self._bytes: dict[int, tuple[int, str, bool]] = {}
        "By storage: its size, the kind of module that kept it first, and whether that was in a block."
        self._running: list[nn.Module] = []

    @contextmanager
    def step(self, step: int) -> Iterator[None]:
        """Watch the forward passes of this step, if it is the one; the last micro-batch counts."""
        if step != self._step:
            yield
            return
        with ExitStack() as stack:
            for module in self._module.modules():
                stack.callback(module.register_forward_pre_hook(self._enter).remove)
                stack.callback(module.register_forward_hook(self._leave, always_call=True).remove)
            stack.enter_context(saved_tensors_hooks(self._keep, lambda item: item))
            yield

    def row(self) -> Row:
        """`saved_bytes`, `saved_bytes_blocks` and `saved_bytes_by` kind of module, most first; given once."""
        if not self._bytes:
            return {}
        by_kind: dict[str, int] = {}
        for size, kind, _ in self._bytes.values():
            by_kind[kind] = by_kind.get(kind, 0) + size
        in_blocks = sum(size for size, _, is_in_block in self._bytes.values() if is_in_block)
        self._bytes = {}
        ordered = dict(sorted(by_kind.items(), key=lambda item: -item[1]))
        return {"saved_bytes": sum(ordered.values()), "saved_bytes_blocks": in_blocks, "saved_bytes_by": ordered}

    def _enter(self, module: nn.Module, _args: object) -> None:
        if module is self._module:
            self._bytes, self._running = {}, []
        self._running.append(module)

    def _leave(self, _module: nn.Module, _args: object, _result: object) -> None:
        if self._running:
            self._running.pop()

    def _keep(self, item: Tensor) -> Tensor:
        # ZeRO-3 gathers parameters into storages that last as long as their module computes.
        running = self._running[-1] if self._running else self._module
        mine = [*running.parameters(recurse=False), *self._module.parameters()]
        storage = item.untyped_storage()
        key = storage.data_ptr()
        if key not in self._bytes and not any(key == _address(parameter) for parameter in mine):
            is_in_block = any(isinstance(module, Block) for module in self._running)
            self._bytes[key] = storage.nbytes(), type(running).__name__, is_in_block
        return item


def _address(parameter: torch.Tensor) -> int:
    return parameter.untyped_storage().data_ptr()
