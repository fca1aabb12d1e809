from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from configs.errors import ConfigError
from configs.options import validate
from configs.recipe import merge
from model.encoder_decoder import EncoderDecoder
from model.options import EncoderDecoderOptions

ModelOf = Callable[..., EncoderDecoder]

SIDE: dict[str, Any] = {
    "embedder": {"vocab_size": 23, "max_length": 16},
    "dim": 16,
    "num_layers": 2,
    "mixer": {"num_heads": 4},
    "hidden_dim": 24,
}
BOTH: dict[str, Any] = {"encoder": SIDE | {"visibility": "bidirectional"}, "decoder": SIDE | {"cross": True}}


def both(**changes: object) -> dict[str, Any]:
    """The same keys on both sides."""
    return {"encoder": changes, "decoder": changes}


T5 = both(positions={"kind": "relative", "num_buckets": 8, "max_distance": 10}, feed_forward="relu")
BART = both(positions={"kind": "learned", "offset": 2}, norm="layer", norm_place="post", bias=True, embedding_norm=True)
ROTARY = both(mixer={"num_kv_heads": 2, "qk_norm": "rms", "softcap": 5.0})
LOOPED = merge(ROTARY, {"decoder": {"plan": [{"repeat": 1}, {"repeat": 1, "times": 2}]}})
SHAPES = pytest.mark.parametrize("shape", [T5, BART, ROTARY, LOOPED], ids=["t5", "bart", "rotary", "looped"])

SOURCE_BS = torch.randint(0, 23, (3, 9), generator=torch.Generator().manual_seed(0))
TARGET_BT = torch.randint(0, 23, (3, 7), generator=torch.Generator().manual_seed(1))
KEEP_BS = torch.arange(9) < torch.tensor([9, 4, 1])[:, None]
KEEP_BT = torch.arange(7) < torch.tensor([3, 7, 5])[:, None]
SOURCE_SEGMENTS_BS, TARGET_SEGMENTS_BT = KEEP_BS.long() - 1, KEEP_BT.long() - 1


@pytest.fixture(scope="module")
def model_of() -> ModelOf:
    def make(*, dtype: torch.dtype = torch.float64, **changes: object) -> EncoderDecoder:
        model = EncoderDecoder(EncoderDecoderOptions.model_validate(merge(BOTH, changes))).to(dtype)
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for parameter in model.parameters():
                # Far from the initial scheme: every bias and norm weight has to matter.
                parameter.normal_(0.0, 0.4, generator=generator)
        return model.eval()

    return make


def step_by_step(model: EncoderDecoder, sizes: list[int], memory_segments: Tensor | None) -> Tensor:
    """Hidden states of the targets, so many at a time."""
    memory = model.encode(SOURCE_BS, memory_segments)
    state = model.decoder.start(len(SOURCE_BS), memory.x.device, memory.x.dtype, memory=memory)
    found, place = [], 0
    for size in sizes:
        places_BT = torch.arange(place, place + size).expand(len(SOURCE_BS), -1)
        tokens = model.decoder.embed(TARGET_BT[:, place : place + size], positions_BT=places_BT)
        hidden, state = model.decoder.step(tokens, state)
        found.append(hidden.x)
        place += size
    return torch.cat(found, dim=1)


@SHAPES
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=["f64", "f32"])
@pytest.mark.parametrize("sizes", [[1] * 7, [4, 1, 2]], ids=["one-by-one", "some-at-once"])
def test_steps_equal_the_whole_pass(
    model_of: ModelOf, shape: dict[str, Any], dtype: torch.dtype, tolerance: float, sizes: list[int]
) -> None:
    model = model_of(dtype=dtype, **shape)
    with torch.no_grad():
        whole = model((SOURCE_BS, SOURCE_SEGMENTS_BS), (TARGET_BT,)).x
        stepped = step_by_step(model, sizes, SOURCE_SEGMENTS_BS)
    assert float((stepped - whole).abs().max() / whole.abs().max()) < tolerance


def test_a_target_without_segments_sees_the_whole_memory_however_it_is_numbered(model_of: ModelOf) -> None:
    model = model_of(shared_embedding=True)
    numbered_BS = torch.where(KEEP_BS, 3, -1)
    with torch.no_grad():
        whole = model((SOURCE_BS, numbered_BS), (TARGET_BT,)).x
        torch.testing.assert_close(whole, model((SOURCE_BS, SOURCE_SEGMENTS_BS), (TARGET_BT,)).x, rtol=0, atol=1e-12)
        torch.testing.assert_close(step_by_step(model, [1] * 7, numbered_BS), whole, rtol=0, atol=1e-12)


@SHAPES
@pytest.mark.parametrize("target_segments", [None, TARGET_SEGMENTS_BT], ids=["source-padded", "both-padded"])
def test_what_stands_in_padding_changes_nothing(
    model_of: ModelOf, shape: dict[str, Any], target_segments: Tensor | None
) -> None:
    model = model_of(**shape)
    keep_BT = torch.ones_like(KEEP_BT) if target_segments is None else KEEP_BT
    source_BS = torch.where(KEEP_BS, SOURCE_BS, (SOURCE_BS + 1) % 23)
    target_BT = torch.where(keep_BT, TARGET_BT, (TARGET_BT + 1) % 23)

    def results(source: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        hidden_BTD = model((source, SOURCE_SEGMENTS_BS), (target, target_segments)).x[keep_BT]
        weights = [item for name, item in model.named_parameters() if "embedder" not in name]
        return hidden_BTD, *torch.autograd.grad(hidden_BTD.sin().sum(), weights)

    before, after = results(SOURCE_BS, TARGET_BT), results(source_BS, target_BT)
    assert all(torch.equal(mine, other) for mine, other in zip(before, after, strict=True))


def test_every_source_token_reaches_every_target_token(model_of: ModelOf) -> None:
    model = model_of()
    with torch.no_grad():
        before = model((SOURCE_BS, SOURCE_SEGMENTS_BS), (TARGET_BT,)).x
        for place in range(9):
            changed_BS = SOURCE_BS.clone()
            changed_BS[:, place] = (changed_BS[:, place] + 1) % 23
            moved_B = (model((changed_BS, SOURCE_SEGMENTS_BS), (TARGET_BT,)).x - before).abs().amax(-1).amin(-1)
            assert ((moved_B > 1e-9) == KEEP_BS[:, place]).all()


def test_targets_see_no_later_target(model_of: ModelOf) -> None:
    model, changed_BT = model_of(), TARGET_BT.clone()
    changed_BT[:, 4] = (changed_BT[:, 4] + 1) % 23
    with torch.no_grad():
        before, after = (model((SOURCE_BS,), (target_BT,)).x for target_BT in (TARGET_BT, changed_BT))
    assert torch.equal(before[:, :4], after[:, :4])
    assert (before[:, 4:] - after[:, 4:]).abs().amax(-1).min() > 1e-9


@SHAPES
def test_packed_pairs_equal_pairs_run_one_by_one(model_of: ModelOf, shape: dict[str, Any]) -> None:
    model = model_of(**shape)
    source_segments, target_segments = torch.tensor([[0] * 4 + [1] * 5]), torch.tensor([[0] * 5 + [1] * 2])
    with torch.no_grad():
        packed = model((SOURCE_BS[:1], source_segments), (TARGET_BT[:1], target_segments)).x
        first = model((SOURCE_BS[:1, :4],), (TARGET_BT[:1, :5],)).x
        second = model((SOURCE_BS[:1, 4:],), (TARGET_BT[:1, 5:],)).x
    torch.testing.assert_close(packed, torch.cat((first, second), dim=1), rtol=0, atol=1e-10)


@pytest.mark.parametrize("shared", [False, True], ids=["two-tables", "one-table"])
def test_every_parameter_has_a_gradient(model_of: ModelOf, *, shared: bool) -> None:
    model = model_of(**merge(BART, {"shared_embedding": shared}))
    model((SOURCE_BS, SOURCE_SEGMENTS_BS), (TARGET_BT, TARGET_SEGMENTS_BT)).x.sin().sum().backward()
    for name, parameter in model.named_parameters():
        # The bias of a key moves no softmax.
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-9 or name.endswith("key.bias"), name


def test_recomputed_blocks_give_the_same_gradients(model_of: ModelOf) -> None:
    model = model_of(**T5).train()
    results = []
    for recompute in (False, True):
        model.encoder.recompute_blocks = model.decoder.recompute_blocks = recompute
        hidden_BTD = model((SOURCE_BS, SOURCE_SEGMENTS_BS), (TARGET_BT,)).x
        results.append(torch.autograd.grad(hidden_BTD.sin().sum(), list(model.parameters())))
    assert all(torch.equal(kept, again) for kept, again in zip(*results, strict=True))


TABLE = "encoder.embedder.tokens.weight"


def test_a_shared_table_gets_the_gradients_of_both_sides(model_of: ModelOf) -> None:
    one, two = model_of(**T5, shared_embedding=True), model_of(**T5)
    two.load_state_dict({"decoder.embedder.tokens.weight": one.state_dict()[TABLE]} | one.state_dict())
    fields = ((SOURCE_BS, SOURCE_SEGMENTS_BS), (TARGET_BT,))
    assert torch.equal(one(*fields).x, two(*fields).x)
    for model in (one, two):
        model(*fields).x.sin().sum().backward()
    gradients = {name: item.grad for name, item in two.named_parameters()}
    shared = one.get_parameter(TABLE).grad
    apart = [gradients[TABLE], gradients["decoder.embedder.tokens.weight"]]
    assert all(gradient is not None and gradient.abs().max() > 1e-3 for gradient in apart)
    torch.testing.assert_close(shared, apart[0] + apart[1], rtol=1e-12, atol=1e-12)


def test_a_shared_table_has_one_name_and_stays_shared(model_of: ModelOf) -> None:
    model = model_of(dtype=torch.float32, shared_embedding=True)
    tables = {name for name, _ in model.named_parameters(remove_duplicate=False) if "tokens" in name}
    assert tables == {TABLE} == {name for name in model.state_dict() if "tokens" in name}
    with torch.device("meta"):
        empty = EncoderDecoder(model.options)
    # The three ways that weights come into a model: engines fill it, inference assigns, tests copy.
    filled = copy.deepcopy(empty).to_empty(device="cpu")
    filled.load_state_dict(model.state_dict())
    empty.load_state_dict(model.state_dict(), assign=True)
    for other in (filled, empty, copy.deepcopy(model), copy.deepcopy(model).double()):
        assert other.decoder.embedder.tokens is other.encoder.embedder.tokens
        assert torch.equal(other.decoder.embedder.tokens.weight.float(), model.get_parameter(TABLE))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decoder": {"cross": False}}, "set decoder.cross: true"),
        ({"decoder": {"plan": [{"repeat": 1}, {"repeat": 1, "cross": False}]}}, "set decoder.cross: true"),
        ({"encoder": {"cross": True}}, "set encoder.cross: false"),
        ({"encoder": {"dim": 32}}, "encoder.dim 32 and decoder.dim 16 differ"),
        ({"shared_embedding": True, "encoder": {"embedder": {"vocab_size": 24}}}, "of the same vocab_size"),
        ({"shared_embedding": True, "encoder": {"embedding_dim": 8}}, "of the same vocab_size and width"),
        (
            {"shared_embedding": True, "encoder": {"embedder": {"kind": "vectors", "vocab_size": None}}},
            "both embedders must be text",
        ),
    ],
    ids=["no-cross", "cross-in-part", "encoder-cross", "widths", "vocabularies", "embedding-widths", "no-text"],
)
def test_impossible_pairs_are_refused(change: dict[str, Any], message: str) -> None:
    tree = merge({"kind": "encoder_decoder"} | BOTH, change)
    if tree["encoder"]["embedder"].get("vocab_size") is None:
        del tree["encoder"]["embedder"]["vocab_size"]
    with pytest.raises(ConfigError) as error:
        validate(EncoderDecoderOptions, tree, "recipe")
    assert message in str(error.value)
