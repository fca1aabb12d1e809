from __future__ import annotations

import math
import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from configs.errors import ConfigError
from model.taps import tap, taps
from model.transformer import Transformer

ModelOf = Callable[..., Transformer]
TOKENS = torch.arange(18).view(2, 9) % 23


def test_outputs_of_modules_are_those_of_the_forward_pass(model_of: ModelOf) -> None:
    model = model_of()
    with taps(model, ["embedder", "blocks.*", "norm"]) as seen:
        hidden = model(TOKENS)
    assert {name: len(tensors) for name, tensors in seen.items()} == {
        "embedder": 1,
        "blocks.0": 1,
        "blocks.1": 1,
        "norm": 1,
    }
    assert torch.equal(seen["embedder"][0], model.embedder(TOKENS).x)
    assert torch.equal(seen["norm"][0], hidden.x)
    assert torch.equal(model.norm(seen["blocks.1"][0]), hidden.x)


def test_parts_of_attention_are_attention_written_out(model_of: ModelOf) -> None:
    model = model_of(mixer={"num_heads": 4, "num_kv_heads": 2}, positions="none")
    with taps(model, ["blocks.0.mixer", "blocks.0.mixer:*"]) as seen:
        model(TOKENS)
    q, k, v, weights, mixed = (
        seen[f"blocks.0.mixer:{part}"][0] for part in ("queries", "keys", "values", "weights", "mixed")
    )
    k, v = (tensor.repeat_interleave(2, dim=1) for tensor in (k, v))
    scores = q @ k.transpose(-1, -2) / math.sqrt(4)
    expected = scores.masked_fill(torch.ones(9, 9).triu(1).bool(), -math.inf).softmax(-1)
    torch.testing.assert_close(weights, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(mixed, expected @ v, rtol=1e-10, atol=1e-12)
    output = model.blocks[0].mixer.output(mixed.transpose(1, 2).flatten(2))  # type: ignore[union-attr, operator]
    assert torch.equal(output, seen["blocks.0.mixer"][0])


def test_tapped_tensors_are_in_the_graph_unless_detached(model_of: ModelOf) -> None:
    model = model_of()
    with taps(model, ["blocks.0", "blocks.1.mixer:queries"]) as seen, taps(model, ["blocks.0"], detach=True) as values:
        loss = model(TOKENS).x.square().sum()
    inner, queries = seen["blocks.0"][0], seen["blocks.1.mixer:queries"][0]
    gradients = torch.autograd.grad(loss, [inner, queries])
    assert all(bool(gradient.any()) for gradient in gradients)
    assert not values["blocks.0"][0].requires_grad
    assert torch.equal(values["blocks.0"][0], inner)


def test_a_looped_block_is_seen_every_time(model_of: ModelOf) -> None:
    model = model_of(plan=[{"repeat": 2, "times": 3}])
    with taps(model, ["blocks.1", "blocks.1.mixer:mixed"]) as seen:
        model(TOKENS)
    assert [len(tensors) for tensors in seen.values()] == [3, 3]


def test_nothing_is_left_behind_and_nothing_changes(model_of: ModelOf) -> None:
    model = model_of()
    before = model(TOKENS).x
    with taps(model, ["**", "!*", "blocks.*", "**.mixer:*", "!**.mixer_branch", "!**.feed_forward_branch"]) as seen:
        assert torch.equal(model(TOKENS).x, before)
        with taps(model, ["blocks.0.mixer:keys"]) as inner:
            model(TOKENS)
    assert len(seen["blocks.0.mixer:keys"]) == 2
    assert len(inner["blocks.0.mixer:keys"]) == 1
    model(TOKENS)
    assert len(seen["blocks.0.mixer:keys"]) == 2
    assert not any(module._forward_hooks for module in model.modules())


def test_other_threads_are_not_recorded(model_of: ModelOf) -> None:
    model = model_of()
    with taps(model, ["blocks.0", "blocks.0.mixer:keys"]) as seen:
        thread = threading.Thread(target=model, args=(TOKENS,))
        thread.start()
        thread.join()
        assert seen == {}
        model(TOKENS)
    assert {name: len(tensors) for name, tensors in seen.items()} == {"blocks.0": 1, "blocks.0.mixer:keys": 1}


def test_what_nobody_looks_at_is_not_computed() -> None:
    class Part(nn.Module):
        taps = ("dear", "cheap")

        def forward(self, x: Tensor) -> Tensor:
            tap(self, "dear", lambda: calls.append("dear") or x * 2)  # type: ignore[func-returns-value]
            tap(self, "cheap", x)
            return x

    calls: list[str] = []
    model = nn.Sequential(Part())
    x = torch.ones(2)
    with taps(model, ["0:cheap"]) as seen:
        model(x)
    assert calls == []
    assert seen["0:cheap"][0] is x
    with taps(model, ["0:dear"]) as seen:
        model(x)
    assert calls == ["dear"]
    assert torch.equal(seen["0:dear"][0], x * 2)


def test_blocks_compile_in_one_graph_and_are_still_seen(model_of: ModelOf) -> None:
    model = model_of()
    expected = model(TOKENS).x
    for block in model.blocks:
        block.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(model(TOKENS).x, expected, rtol=1e-10, atol=1e-12)
    with taps(model, ["blocks.*.mixer:weights"]) as seen:
        model(TOKENS)
    assert list(seen) == ["blocks.0.mixer:weights", "blocks.1.mixer:weights"]
    assert model.blocks[0]._compiled_call_impl is not None


def test_an_unknown_name_is_an_error_with_the_nearest(model_of: ModelOf) -> None:
    with (
        pytest.raises(ConfigError, match=r"taps: 'blocks.0.mixer:quaries' matches nothing; nearest: .*mixer:queries"),
        taps(model_of(), ["blocks.0.mixer:quaries"]),
    ):
        pass


def test_a_module_that_gives_no_tensor_is_named() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    with taps(model := nn.Sequential(Pair()), ["0"]), pytest.raises(TypeError, match="'0' gives tuple, not a tensor"):
        model(torch.ones(1))
