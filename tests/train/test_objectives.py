from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from configs.errors import ConfigError
from data.priors.options import CopyOptions, ForestOptions
from data.sources import build_source
from model.initialisation import initial_value
from train.objectives.causal_lm import CausalLM
from train.objectives.objective import build_objective, require_fields
from train.objectives.options import CausalLMOptions

ObjectiveOf = Callable[..., CausalLM]
BatchOf = Callable[[int, int], dict[str, Tensor]]

FORMS = pytest.mark.parametrize(
    "form",
    [{}, {"tied_head": False}, {"documents": "joined"}, {"positions": "learned", "norm": "layer", "bias": True}],
    ids=str,
)


def randomised(objective: CausalLM) -> CausalLM:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.normal_(0.0, 0.5, generator=generator)
    return objective.double()


def slow_sum(objective: CausalLM, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
    """The loss one document and one target at a time, and the number of targets."""
    loss, targets = torch.zeros((), dtype=torch.float64), 0
    head = objective.transformer.embedder.tokens if objective.head.options.tied else objective.head.output
    for tokens_T, segments_T in zip(batch["tokens"], batch["segments"], strict=True):
        tokens_T, segments_T = tokens_T[segments_T >= 0], segments_T[segments_T >= 0]
        if objective.transformer.options.documents == "joined":
            segments_T = torch.zeros_like(segments_T)
        for number in segments_T.unique():
            document_T = tokens_T[segments_T == number]
            for place in range(1, len(document_T)):
                hidden_D = objective.transformer(document_T[None, :place]).x[0, -1]
                logits_V = head.weight @ hidden_D
                loss = loss - (logits_V[document_T[place]] - logits_V.logsumexp(0))
                targets += 1
    return loss, targets


@FORMS
def test_loss_and_gradients_equal_a_slow_sum_over_documents_and_targets(
    objective_of: ObjectiveOf, batch_of: BatchOf, form: dict[str, object]
) -> None:
    objective, batch = randomised(objective_of(**form)), batch_of(4, 3)
    assert_equals_slow_sum(objective, batch)


@FORMS
def test_padding_is_neither_a_target_nor_seen(
    objective_of: ObjectiveOf, batch_of: BatchOf, form: dict[str, object]
) -> None:
    objective, batch = randomised(objective_of(**form)), batch_of(4, 3)
    # Rows end in padding of 0, 2, 4 tokens; the last is nothing else.
    for row, length in enumerate([7, 5, 3, 0]):
        batch["segments"][row, length:] = -1
    assert_equals_slow_sum(objective, batch)


def assert_equals_slow_sum(objective: CausalLM, batch: dict[str, Tensor]) -> None:
    expected, targets = slow_sum(objective, batch)
    loss = objective(batch)["loss"]
    # The logits are brought to float32 for the softmax.
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=0)
    assert objective.num_targets(batch) == targets
    parameters = list(objective.parameters())
    for mine, slow in zip(
        torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(mine, slow, rtol=1e-5, atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(st.integers(0, 3), min_size=n, max_size=n), min_size=1))
)
def test_targets_are_the_next_tokens_of_the_same_document(objective_of: ObjectiveOf, rows: list[list[int]]) -> None:
    segments = torch.tensor([sorted(row) for row in rows])
    batch = {"tokens": torch.zeros_like(segments), "segments": segments}
    inside = sum(later == earlier for row in segments.tolist() for earlier, later in itertools.pairwise(row))
    assert objective_of().num_targets(batch) == inside
    assert objective_of(documents="joined").num_targets(batch) == segments[:, 1:].numel()


def test_a_batch_without_targets_has_no_loss(objective_of: ObjectiveOf, batch_of: BatchOf) -> None:
    batch = batch_of(2, 0) | {"segments": torch.arange(7).expand(2, 7)}
    objective = objective_of()
    assert objective.num_targets(batch) == 0
    assert objective(batch)["loss"].item() == 0.0


def test_the_first_token_of_a_document_is_never_a_target(objective_of: ObjectiveOf) -> None:
    objective, segments = randomised(objective_of()), torch.tensor([[0, 0, 0, 1]])
    batches = [{"tokens": torch.tensor([[1, 5, 7, first]]), "segments": segments} for first in (2, 3)]
    assert objective(batches[0])["loss"].item() == objective(batches[1])["loss"].item()
    joined = randomised(objective_of(documents="joined"))
    assert joined(batches[0])["loss"].item() != joined(batches[1])["loss"].item()


def test_losses_of_micro_batches_add_up(objective_of: ObjectiveOf, batch_of: BatchOf) -> None:
    objective, batch = randomised(objective_of()), batch_of(6, 1)
    parts = [{name: tensor[rows] for name, tensor in batch.items()} for rows in (slice(0, 1), slice(1, 4), slice(4, 6))]
    assert sum(objective.num_targets(part) for part in parts) == objective.num_targets(batch)
    total = sum(objective(part)["loss"].item() for part in parts)
    assert total == pytest.approx(objective(batch)["loss"].item(), rel=1e-6)


def test_a_tied_head_is_the_embedding_and_another_head_is_its_own(objective_of: ObjectiveOf) -> None:
    tied, untied = objective_of(), objective_of(tied_head=False)
    assert not list(tied.head.parameters())
    assert {name for name, _ in untied.named_parameters()} - {name for name, _ in tied.named_parameters()} == {
        "head.output.weight"
    }
    hidden = tied.transformer(torch.tensor([[1, 2]])).x
    torch.testing.assert_close(tied.logits(torch.tensor([[1, 2]])), hidden @ tied.transformer.embedder.tokens.weight.T)


def test_initial_values_are_those_of_the_model(objective_of: ObjectiveOf) -> None:
    objective = objective_of()
    for name, parameter in objective.named_parameters():
        expected = initial_value(name, parameter.shape, 3, objective.transformer.options)
        assert torch.equal(objective.initial_value(name, parameter.shape, 3), expected)


def test_blocks_and_recomputation_are_those_of_the_transformer(objective_of: ObjectiveOf) -> None:
    objective = objective_of(num_layers=2)
    assert list(objective.blocks()) == list(objective.transformer.blocks)
    assert not objective.transformer.recompute_blocks
    objective.recompute_blocks()
    assert objective.transformer.recompute_blocks


def test_options_build_the_objective_they_describe(objective_of: ObjectiveOf) -> None:
    options = objective_of().transformer.options
    built = build_objective(CausalLMOptions(tied_head=False), options)
    assert isinstance(built, CausalLM)
    assert not built.head.options.tied


def test_a_source_without_the_fields_of_the_objective_is_refused() -> None:
    table = build_source(ForestOptions(rows=16))
    with pytest.raises(ConfigError, match="objective causal_lm reads tokens, segments"):
        require_fields(CausalLMOptions(), table, "data.train")
    require_fields(CausalLMOptions(), build_source(CopyOptions(length=32)), "data.train")
