"""What flows through a model, by name: outputs of modules, and what is inside them.

    with taps(model, ["embedder", "blocks.*", "blocks.0.mixer:queries", "blocks.*.mixer:weights"]) as seen:
        model(tokens)
    seen["blocks.3"][0]                 [B, T, D]
    seen["blocks.0.mixer:weights"][0]   [B, H, T, S]

A module names what can be seen inside it in `taps`, and shows it by calling `tap`; while nobody looks, that is one
attribute that is None.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from model.selectors import select
from model.tokens import Tokens

Seen = dict[str, list[Tensor]]
"By name, one tensor for every call: a block that is run in a loop has several."

_ATTRIBUTE = "_tap_recorders"

Recorder = Callable[[object], None]


@contextmanager
def taps(model: nn.Module, patterns: Sequence[str], *, detach: bool = False) -> Iterator[Seen]:
    """Record what `patterns` select while the model runs in this thread.

    Tensors are those of the graph, so that gradients can be taken at them and through them. Compiled blocks run
    uncompiled meanwhile. Several may be open at once.

    Args:
        model: what is run.
        patterns: names of modules, and `module:part` for what is inside (`model.selectors`).
        detach: keep values only.

    Raises:
        ConfigError: when a pattern matches nothing.
    """
    modules = {name: module for name, module in model.named_modules() if name}
    inside = [f"{name}:{part}" for name, module in modules.items() for part in getattr(module, "taps", ())]
    seen: Seen = {}
    here = threading.get_ident()

    def record(name: str, output: object) -> None:
        tensor = _tensor(name, output)
        if threading.get_ident() == here:
            seen.setdefault(name, []).append(tensor.detach() if detach else tensor)

    with ExitStack() as stack:
        for name in select(patterns, [*modules, *inside], "taps"):
            owner, _, part = name.partition(":")
            recorder = partial(record, name)
            stack.enter_context(_inside(modules[owner], part, recorder) if part else _output(modules[owner], recorder))
        for module in modules.values():
            stack.enter_context(_uncompiled(module))
        yield seen


def tap(module: nn.Module, part: str, value: Tensor | Callable[[], Tensor]) -> None:
    """Show `value` as `part` of a module to those who look. A function is called only if somebody does."""
    recorders = getattr(module, _ATTRIBUTE, None)
    if recorders is not None:
        for wanted, record in recorders:
            if wanted == part:
                record(value() if callable(value) else value)


@contextmanager
def _output(module: nn.Module, record: Recorder) -> Iterator[None]:
    """Have `record` called with what the module gives."""
    hook = module.register_forward_hook(lambda _module, _inputs, output: record(output))
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def _inside(module: nn.Module, part: str, record: Recorder) -> Iterator[None]:
    """Have `record` called with a part of the module."""
    before = getattr(module, _ATTRIBUTE, None)
    entry = (part, record)
    setattr(module, _ATTRIBUTE, [*(before or ()), entry])
    try:
        yield
    finally:
        left = [other for other in getattr(module, _ATTRIBUTE) if other is not entry]
        setattr(module, _ATTRIBUTE, left or None)


@contextmanager
def _uncompiled(module: nn.Module) -> Iterator[None]:
    """Run a compiled module as it was written: compiled code does not notice new hooks."""
    compiled: Any = module._compiled_call_impl
    module._compiled_call_impl = None
    try:
        yield
    finally:
        module._compiled_call_impl = compiled


def _tensor(name: str, output: object) -> Tensor:
    """The tensor of a module's output."""
    if isinstance(output, Tokens):
        return output.x
    if not isinstance(output, Tensor):
        raise TypeError(f"taps: '{name}' gives {type(output).__name__}, not a tensor; tap a module inside it.")
    return output
