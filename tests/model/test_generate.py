from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from model.generate import Sampling, draw, generate
from model.tokens import Tokens
from model.transformer import Transformer

ModelOf = Callable[..., Transformer]
Head = Callable[[Tensor], Tensor]

PROMPT_T = torch.tensor([3, 1, 4])
MODELS: dict[str, dict[str, Any]] = {
    "gpt2": {"norm": "layer", "positions": "learned", "feed_forward": "gelu", "bias": True},
    "llama": {"mixer": {"num_kv_heads": 2}},
    "windows": {"num_layers": 3, "plan": [{"mixer": {"window": 2}}, {"positions": {"kind": "none"}}]},
    "loops": {"plan": [{"times": 3}, {}]},
    "alibi": {"positions": "alibi", "mixer": {"softcap": 3.0}},
    "relative": {"positions": {"kind": "relative", "num_buckets": 6, "max_distance": 9}},
    "joined": {"documents": "joined", "parallel": True},
}


def head_of(model: Transformer) -> Head:
    return lambda hidden: model.embedder.tokens(hidden, as_head=True)


def write_all(
    model: Transformer, prompts: Sequence[Tensor], sampling: Sampling, *, seeds: Sequence[int], **changes: Any
) -> list[list[int]]:
    asked: dict[str, Any] = {"num_tokens": 20, "max_length": 16, "head": head_of(model)} | changes
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return [row.tolist() for row in generate(model, prompts=prompts, sampling=sampling, generators=generators, **asked)]


def write(model: Transformer, sampling: Sampling, *, seed: int = 0, **changes: Any) -> list[int]:
    return write_all(model, [PROMPT_T], sampling, seeds=[seed], **changes)[0]


def by_whole_forwards(
    model: Transformer, prompt_T: Tensor, sampling: Sampling, seed: int = 0, memory: Tokens | None = None
) -> list[int]:
    """The definition: a forward pass over the last 16 tokens for every one of 20 draws."""
    tokens, generator = prompt_T.tolist(), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _ in range(20):
            hidden = model(torch.tensor([tokens[-16:]]), memory=memory).x
            tokens.append(int(draw(head_of(model)(hidden)[0, -1].float(), sampling, generator)))
    return tokens[len(prompt_T) :]


@pytest.fixture(scope="module")
def model(model_of: ModelOf) -> Transformer:
    return model_of().eval()


@pytest.fixture(scope="module")
def greedy(model: Transformer) -> list[int]:
    """The likeliest continuation."""
    return by_whole_forwards(model, PROMPT_T, Sampling(0))


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0),
        Sampling(5.0, top_k=1),
        Sampling(5.0, top_p=1e-9),
        Sampling(5.0, min_p=1.0),
        Sampling(1e-6),
    ],
    ids=["temperature 0", "top_k 1", "tiny top_p", "min_p 1", "tiny temperature"],
)
def test_every_way_to_take_the_likeliest_token_equals_an_argmax_loop(
    model: Transformer, greedy: list[int], sampling: Sampling
) -> None:
    assert write(model, sampling) == greedy
    assert len(set(greedy)) > 2


@pytest.mark.parametrize("case", MODELS)
def test_rows_of_a_batch_are_what_whole_forwards_write_one_by_one(model_of: ModelOf, case: str) -> None:
    """Ragged prompts, one of them longer than the model takes; half the tokens are written beyond its length."""
    model = model_of(**MODELS[case]).eval()
    tokens_T = torch.randint(0, 23, (40,), generator=torch.Generator().manual_seed(5))
    prompts = [tokens_T[:3], tokens_T[3:12], tokens_T[12:13], tokens_T[13:33]]
    hot = Sampling(20.0, top_k=9)
    expected = [by_whole_forwards(model, prompt, hot, seed) for seed, prompt in enumerate(prompts)]
    assert write_all(model, prompts, hot, seeds=range(4)) == expected
    assert len({tuple(row) for row in expected}) == 4
    # What stands beside a row is nothing to it.
    assert write_all(model, prompts[2:0:-1], hot, seeds=[2, 1]) == [expected[2], expected[1]]


def test_a_memory_is_read_row_by_row(model_of: ModelOf) -> None:
    encoder = model_of(visibility="bidirectional").eval()
    decoder = model_of(cross=True, positions="learned").eval()
    memory = encoder(torch.randint(0, 23, (2, 9), generator=torch.Generator().manual_seed(5)))
    prompts = [PROMPT_T, PROMPT_T[:1]]
    rows = [memory.with_x(memory.x[row : row + 1]) for row in (0, 1)]
    pairs = zip(prompts, rows, strict=True)
    expected = [by_whole_forwards(decoder, prompt, Sampling(0), memory=row) for prompt, row in pairs]
    assert write_all(decoder, prompts, Sampling(0), seeds=[0, 0], memory=memory) == expected
    swapped = memory.with_x(memory.x.flip(0))
    assert write_all(decoder, prompts, Sampling(0), seeds=[0, 0], memory=swapped) != expected


def test_no_token_is_read_twice_before_the_model_is_full(model: Transformer) -> None:
    lengths: list[int] = []
    step = model.step

    def counted(tokens: Tokens, state: Any) -> Any:
        lengths.append(tokens.x.shape[1])
        return step(tokens, state)

    model.step = counted  # type: ignore[method-assign]
    try:
        write(model, Sampling(0), num_tokens=16)
    finally:
        del model.step  # type: ignore[method-assign]
    assert lengths == [3] + [1] * 13 + [16] * 2


def test_the_same_generator_seed_gives_the_same_text(model: Transformer) -> None:
    hot = Sampling(9.0)
    assert write(model, hot, seed=1) == write(model, hot, seed=1)
    assert write(model, hot, seed=1) != write(model, hot, seed=2)


def test_torchs_own_random_state_is_neither_used_nor_changed(model: Transformer) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = write(model, Sampling(9.0))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert write(model, Sampling(9.0)) == first


def test_the_stop_token_ends_the_text_and_is_its_last(model: Transformer, greedy: list[int]) -> None:
    stop = greedy[6]
    assert write(model, Sampling(0), stop_tokens=[stop]) == greedy[: greedy.index(stop) + 1]


def test_a_row_that_has_ended_leaves_the_others_as_they_are(model: Transformer, greedy: list[int]) -> None:
    """Also when the others go on beyond the length of the model, and when the first to end was beyond it."""
    short = PROMPT_T[:1]
    longer = torch.randint(0, 23, (15,), generator=torch.Generator().manual_seed(5))
    alone = [by_whole_forwards(model, prompt, Sampling(0)) for prompt in (PROMPT_T, short, longer)]
    for stop in range(23):
        cut = [row[: row.index(stop) + 1] if stop in row else row for row in alone]
        assert write_all(model, [PROMPT_T, short, longer], Sampling(0), seeds=[0] * 3, stop_tokens=[stop]) == cut


def test_a_stop_token_in_the_prompt_does_not_stop(model: Transformer) -> None:
    unlikely = torch.zeros(23)
    unlikely[PROMPT_T] = -1e9
    written = write(model, Sampling(0), stop_tokens=[4], head=lambda hidden: head_of(model)(hidden) + unlikely)
    assert len(written) == 20


def test_no_gradient_is_recorded(model: Transformer) -> None:
    grads: list[bool] = []

    def head(hidden: Tensor) -> Tensor:
        logits = head_of(model)(hidden)
        grads.append(logits.requires_grad)
        return logits

    write(model, Sampling(1.0), num_tokens=2, head=head)
    assert grads == [False, False]


def test_a_model_whose_tokens_see_later_ones_does_not_write(model_of: ModelOf) -> None:
    with pytest.raises(ValueError, match="cannot go token by token"):
        write(model_of(visibility="bidirectional"), Sampling(0))


def drawn(sampling: Sampling, num_draws: int = 300) -> Counter[int]:
    # Out of order, so that ranks and ids are not the same.
    logits_V = torch.tensor([0.15, 0.5, 0.05, 0.3]).log()
    generator = torch.Generator().manual_seed(0)
    return Counter(int(draw(logits_V, sampling, generator)) for _ in range(num_draws))


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(1.0), {0, 1, 2, 3}),
        (Sampling(1.0, top_k=3), {0, 1, 3}),
        (Sampling(1.0, top_k=2), {1, 3}),
        (Sampling(1.0, top_k=99), {0, 1, 2, 3}),
        (Sampling(1.0, top_p=0.4), {1}),
        (Sampling(1.0, top_p=0.7), {1, 3}),
        (Sampling(1.0, top_p=0.9), {0, 1, 3}),
        (Sampling(1.0, top_k=1, top_p=0.9), {1}),
        (Sampling(1.0, min_p=0.25), {0, 1, 3}),
        (Sampling(1.0, min_p=0.7), {1}),
        (Sampling(1.0, top_k=2, min_p=0.05), {1, 3}),
        (Sampling(2.0, min_p=0.7), {1, 3}),
    ],
    ids=str,
)
def test_only_the_kept_tokens_are_drawn(sampling: Sampling, expected: set[int]) -> None:
    assert set(drawn(sampling)) == expected


@pytest.mark.parametrize(("temperature", "share"), [(1.0, 0.5), (0.5, 0.25 / 0.365)])
def test_tokens_are_drawn_by_their_tempered_probability(temperature: float, share: float) -> None:
    # Three standard errors of 2,000 draws are 0.034.
    assert drawn(Sampling(temperature), 2000)[1] / 2000 == pytest.approx(share, abs=0.035)


def test_zero_temperature_ignores_the_generator() -> None:
    assert set(drawn(Sampling(0), 20)) == {1}
