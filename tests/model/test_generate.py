from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from model.generate import Sampling, draw, generate
from model.transformer import Transformer

ModelOf = Callable[..., Transformer]

PROMPT_T = torch.tensor([3, 1, 4])


def write(logits_of: Callable[[Tensor], Tensor], sampling: Sampling, *, seed: int = 0, **changes: int) -> list[int]:
    asked = {"num_tokens": 20, "max_length": 16} | changes
    generator = torch.Generator().manual_seed(seed)
    return generate(logits_of, PROMPT_T, sampling=sampling, generator=generator, **asked).tolist()


@pytest.fixture(scope="module")
def logits_of(model_of: ModelOf) -> Callable[[Tensor], Tensor]:
    model = model_of().eval()
    return lambda tokens_BT: model.embedder.tokens(model(tokens_BT).x, as_head=True)


@pytest.fixture(scope="module")
def greedy(logits_of: Callable[[Tensor], Tensor]) -> list[int]:
    """The likeliest continuation, by a loop of argmax over at most 16 tokens."""
    tokens = PROMPT_T.tolist()
    with torch.no_grad():
        for _ in range(20):
            tokens.append(int(logits_of(torch.tensor([tokens[-16:]]))[0, -1].argmax()))
    return tokens[3:]


@pytest.mark.parametrize(
    "sampling",
    [Sampling(temperature=0), Sampling(5.0, top_k=1), Sampling(5.0, top_p=1e-9), Sampling(1e-6)],
    ids=["temperature 0", "top_k 1", "tiny top_p", "tiny temperature"],
)
def test_every_way_to_take_the_likeliest_token_equals_an_argmax_loop(
    logits_of: Callable[[Tensor], Tensor], greedy: list[int], sampling: Sampling
) -> None:
    assert write(logits_of, sampling) == greedy
    assert len(set(greedy)) > 2


def test_the_same_generator_seed_gives_the_same_text(logits_of: Callable[[Tensor], Tensor]) -> None:
    hot = Sampling(3.0)
    assert write(logits_of, hot, seed=1) == write(logits_of, hot, seed=1)
    assert write(logits_of, hot, seed=1) != write(logits_of, hot, seed=2)


def test_torchs_own_random_state_is_neither_used_nor_changed(logits_of: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = write(logits_of, Sampling(3.0))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert write(logits_of, Sampling(3.0)) == first


def test_the_stop_token_ends_the_text_and_is_its_last(logits_of: Callable[[Tensor], Tensor], greedy: list[int]) -> None:
    stop = greedy[6]
    assert write(logits_of, Sampling(0), stop_token=stop) == greedy[: greedy.index(stop) + 1]


def test_a_stop_token_in_the_prompt_does_not_stop(logits_of: Callable[[Tensor], Tensor]) -> None:
    unlikely = torch.zeros(23)
    unlikely[PROMPT_T] = -1e9
    written = write(lambda tokens_BT: logits_of(tokens_BT) + unlikely, Sampling(0), stop_token=4)
    assert len(written) == 20


def test_context_longer_than_the_model_takes_is_cut_from_the_left() -> None:
    seen: list[list[int]] = []

    def logits_of(tokens_BT: Tensor) -> Tensor:
        seen.append(tokens_BT[0].tolist())
        return torch.nn.functional.one_hot((tokens_BT + 1) % 9, 9).float()

    written = write(logits_of, Sampling(0), num_tokens=4, max_length=5)
    assert written == [5, 6, 7, 8]
    assert seen == [[3, 1, 4], [3, 1, 4, 5], [3, 1, 4, 5, 6], [1, 4, 5, 6, 7]]


def test_no_gradient_is_recorded(model_of: ModelOf) -> None:
    model = model_of()
    grads: list[bool] = []

    def logits_of(tokens_BT: Tensor) -> Tensor:
        logits = model.embedder.tokens(model(tokens_BT).x, as_head=True)
        grads.append(logits.requires_grad)
        return logits

    write(logits_of, Sampling(1.0), num_tokens=2)
    assert grads == [False, False]


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
