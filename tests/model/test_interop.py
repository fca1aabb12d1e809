"""What transformers computes from our tensors and configuration is what we compute."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from huggingface_hub import save_torch_state_dict
from torch import Tensor
from torch.nn.functional import cross_entropy

from configs.errors import ConfigError
from model.interop import gpt2, llama
from model.interop.families import family_of
from model.options import TransformerOptions
from train.objectives.causal_lm import CausalLM
from train.objectives.options import CausalLMOptions

OptionsOf = Callable[..., TransformerOptions]

GPT2: dict[str, object] = {"norm": "layer", "positions": "learned", "bias": True, "feed_forward": "gelu"}
CASES: dict[str, tuple[dict[str, object], bool]] = {
    "llama-mha-tied": ({}, True),
    "llama-gqa-untied": ({"num_kv_heads": 2, "rotary_base": 500.0}, False),
    "llama-mqa-bias": ({"num_kv_heads": 1, "bias": True, "num_layers": 1, "norm_eps": 1e-3}, True),
    "llama-wide-heads": ({"head_dim": 10, "dim": 20, "num_heads": 2, "hidden_dim": None}, False),
    "gpt2-gelu-tied": (GPT2, True),
    "gpt2-gelu-tanh-tied": (GPT2 | {"feed_forward": "gelu_tanh", "num_layers": 3, "norm_eps": 1e-3}, True),
    "gpt2-untied": (GPT2 | {"dim": 24, "num_heads": 3, "hidden_dim": None}, False),
}
TOKENS_BT = torch.randint(0, 23, (3, 12), generator=torch.Generator().manual_seed(0))
RAGGED_BT = torch.arange(12) < torch.tensor([[12], [5], [9]])


def random_objective(options: TransformerOptions, tied_head: bool) -> CausalLM:
    objective = CausalLM(CausalLMOptions(tied_head=tied_head), options).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.normal_(0.1, 0.3, generator=generator)
    return objective


@pytest.fixture(scope="module", params=CASES)
def pair(request: pytest.FixtureRequest, options_of: OptionsOf, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Our objective, its options, and the model that transformers loads from the exported folder."""
    from transformers import AutoModelForCausalLM

    changes, tied_head = CASES[request.param]
    options = options_of(**changes)
    objective = random_objective(options, tied_head)
    family, folder = family_of(options), tmp_path_factory.mktemp(request.param)
    weights = {name: item.detach() for name, item in objective.named_parameters()}
    (folder / "config.json").write_text(json.dumps(family.config(options, tied_head=tied_head)))
    save_torch_state_dict(family.tensors(weights, options), folder)
    theirs, report = AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, dtype=torch.float32, attn_implementation="eager"
    )
    assert not any(report.values()), report
    return objective, options, theirs.eval()


def relative_distance(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).detach().abs().max() / theirs.detach().abs().max())


def named_gradients(objective: CausalLM, options: TransformerOptions, loss: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*objective.named_parameters(), strict=True)
    gradients = dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))
    # Renaming, joining and transposing are linear, so they carry gradients as well as weights.
    return dict(family_of(options).tensors(gradients, options))


def require_same_gradients(pair: Any, our_loss: Tensor, their_loss: Tensor) -> None:
    objective, options, theirs = pair
    ours = named_gradients(objective, options, our_loss)
    names, parameters = zip(*theirs.named_parameters(), strict=True)
    expected = dict(zip(names, torch.autograd.grad(their_loss, parameters), strict=True))
    assert ours.keys() == expected.keys()
    distances = {name: relative_distance(ours[name], expected[name]) for name in ours}
    assert max(distances.values()) < 1e-5, distances


def test_logits_are_the_same(pair: Any) -> None:
    objective, _, theirs = pair
    assert relative_distance(objective.logits(TOKENS_BT), theirs(TOKENS_BT).logits) < 1e-5


def test_gradients_of_the_mean_next_token_loss_are_the_same(pair: Any) -> None:
    objective, _, theirs = pair
    batch = {"tokens": TOKENS_BT, "segments": torch.zeros_like(TOKENS_BT)}
    our_loss = objective(batch)["loss"] / objective.num_targets(batch)
    their_loss = theirs(TOKENS_BT, labels=TOKENS_BT).loss
    assert our_loss.item() == pytest.approx(their_loss.item(), rel=1e-5)
    require_same_gradients(pair, our_loss, their_loss)


def test_right_padded_rows_give_the_same_logits_and_gradients_on_real_tokens(pair: Any) -> None:
    objective, _, theirs = pair
    # To us padding is another document; to transformers it is masked.
    ours_BTV = objective.logits(TOKENS_BT, (~RAGGED_BT).long())
    theirs_BTV = theirs(TOKENS_BT, attention_mask=RAGGED_BT.long()).logits
    assert relative_distance(ours_BTV[RAGGED_BT], theirs_BTV[RAGGED_BT]) < 1e-5
    has_target_BT = RAGGED_BT[:, 1:]
    targets = TOKENS_BT[:, 1:][has_target_BT]
    losses = [cross_entropy(logits[:, :-1][has_target_BT], targets) for logits in (ours_BTV, theirs_BTV)]
    require_same_gradients(pair, *losses)


def test_weights_round_trip_exactly_and_a_head_is_stored_only_when_there_is_one(pair: Any) -> None:
    objective, options, theirs = pair
    weights = {name: item.detach() for name, item in objective.named_parameters()}
    mapped = family_of(options).tensors(weights, options)
    found = dict(theirs.named_parameters())
    assert mapped.keys() == found.keys()
    assert all(torch.equal(mapped[name], found[name]) for name in mapped)
    assert ("lm_head.weight" in mapped) == (objective.head is not None)
    assert sum(item.numel() for item in mapped.values()) == sum(item.numel() for item in weights.values())


@pytest.mark.parametrize(("changes", "family"), [({}, llama), ({"bias": True}, llama), (GPT2, gpt2)])
def test_the_family_that_computes_a_model_is_found(
    options_of: OptionsOf, changes: dict[str, object], family: object
) -> None:
    assert family_of(options_of(**changes)) is family


@pytest.mark.parametrize(
    ("changes", "llama_keys", "gpt2_keys"),
    [
        ({"norm": "layer"}, ["norm=layer"], ["positions=rotary", "bias=False", "feed_forward=swiglu"]),
        (GPT2 | {"bias": False}, ["norm=layer", "positions=learned", "feed_forward=gelu"], ["bias=False"]),
        (GPT2 | {"num_kv_heads": 2}, ["norm=layer", "positions=learned", "feed_forward=gelu"], ["num_kv_heads=2"]),
        (GPT2 | {"head_dim": 6}, ["norm=layer", "positions=learned", "feed_forward=gelu"], ["head_dim=6"]),
        (GPT2 | {"positions": "rotary"}, ["norm=layer", "feed_forward=gelu"], ["positions=rotary"]),
    ],
)
def test_a_model_of_no_family_is_refused_naming_the_keys(
    options_of: OptionsOf, changes: dict[str, object], llama_keys: list[str], gpt2_keys: list[str]
) -> None:
    with pytest.raises(ConfigError, match="no Hugging Face family computes this model") as error:
        family_of(options_of(**changes))
    _, of_llama, of_gpt2 = str(error.value).splitlines()
    assert of_llama == "  llama: not with " + ", ".join(f"model.{key}" for key in llama_keys)
    assert of_gpt2 == "  gpt2: not with " + ", ".join(f"model.{key}" for key in gpt2_keys)
