"""Running a module for its shapes: numbers that a model computes with have no memory behind them.

Tensors that a model computes with are torch's fake tensors: they know their shape and type, and operations on them are
free. Integers and masks of a batch are real: which patches are kept, which frames are masked and who sees whom decide
shapes and counts, so they must be known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from data.loader import Batch

_aten = torch.ops.aten
_INDEXING = (_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default)

Watcher = Callable[[Any, tuple[Any, ...], Any], None]
"(operator, arguments, result): called for every operation on tensors without memory."


class Shadow:
    """A place for tensors without memory, and for what is computed with them."""

    def __init__(self) -> None:
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)

    @contextmanager
    def building(self, dtype: torch.dtype = torch.float32) -> Iterator[None]:
        """Every tensor made here has no memory; parameters are of this type."""
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            with self._fake:
                yield
        finally:
            torch.set_default_dtype(before)

    def batch(self, batch: Batch) -> Batch:
        """The batch, its floating-point fields without memory."""
        return {
            name: self._fake.from_tensor(tensor) if tensor.is_floating_point() else tensor
            for name, tensor in batch.items()
        }

    @contextmanager
    def computing(self, watcher: Watcher = lambda *_: None) -> Iterator[None]:
        """Operations on tensors without memory, alone or with real ones, give such tensors."""
        with _Computing(self._fake, watcher):
            yield


class _Computing(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Real operations where all tensors are real; the others without memory."""

    def __init__(self, fake: FakeTensorMode, watcher: Watcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._fake = fake
        self._watcher = watcher

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not any(isinstance(item, FakeTensor) for item in tree_leaves((args, kwargs))):
            return func(*args, **kwargs)
        if func in _INDEXING:
            args = (args[0], [place for item in args[1] for place in _places(item)], *args[2:])
        with self._fake:
            result = func(*args, **kwargs)
        self._watcher(func, args, result)
        return result


def _places(index: Tensor | None) -> tuple[Tensor | None, ...]:
    """A mask as the places where it is true, whose number is known where the mask is real."""
    if index is None or index.dtype != torch.bool or isinstance(index, FakeTensor):
        return (index,)
    return index.nonzero(as_tuple=True)
