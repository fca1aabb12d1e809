"""Training two transformers that share a table of tokens: engines, initial weights, recipes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, cast

import pytest
from torch import Tensor
from torch.nn.functional import cross_entropy

from configs.errors import ConfigError
from configs.options import construct
from model.encoder_decoder import EncoderDecoder
from model.options import EncoderDecoderOptions
from tests.train.test_engines import KINDS, SMOOTH, build, reference, require_close, start_afresh, state_of, train
from train.objectives.causal_lm import CausalLM
from train.objectives.objective import Objective
from train.objectives.options import CausalLMOptions
from train.recipe import Recipe

SIDE: dict[str, Any] = {
    "embedder": {"vocab_size": 19, "max_length": 8},
    "dim": 8,
    "num_layers": 2,
    "mixer": {"num_heads": 2},
    "hidden_dim": 12,
    "positions": {"kind": "relative"},
}
MODEL: dict[str, Any] = {
    "kind": "encoder_decoder",
    "encoder": SIDE | {"visibility": "bidirectional"},
    "decoder": SIDE | {"cross": True},
    "shared_embedding": True,
}
OPTIONS = EncoderDecoderOptions.model_validate(MODEL)


class Copying(Objective):
    """Each token from the whole row and from those before it; the head is the table of tokens too."""

    fields: ClassVar[tuple[str, ...]] = ("tokens", "segments")

    def __init__(self, options: EncoderDecoderOptions) -> None:
        super().__init__()
        self.transformer = cast(EncoderDecoder, construct(options))

    def num_targets(self, batch: dict[str, Tensor]) -> int:
        return batch["tokens"][:, 1:].numel()

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        tokens, segments = batch["tokens"], batch["segments"]
        hidden = self.transformer((tokens, segments), (tokens[:, :-1], segments[:, :-1]))
        logits_BTV = self.transformer.decoder.embedder.tokens(hidden.x, as_head=True)
        return {"loss": cross_entropy(logits_BTV.flatten(0, 1), tokens[:, 1:].flatten(), reduction="sum")}


@pytest.fixture
def _one_process(process_group: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("RANK", "LOCAL_RANK", "DS_ACCELERATOR", "TORCH_EXTENSIONS_DIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    yield
    start_afresh()


@pytest.mark.usefixtures("_one_process")
@pytest.mark.parametrize("kind", KINDS)
def test_engines_take_the_steps_of_plain_adamw(
    request_of: Callable[..., Any], batch_of: Callable[..., dict[str, Tensor]], kind: str
) -> None:
    asked = request_of(build_objective=lambda: Copying(OPTIONS), optimizer=SMOOTH, micro_rows=4, num_micro=2)
    expected, expected_figures = reference(asked, batch_of, range(2))
    engine = build(kind, asked)
    assert [name for name in engine.shapes if "tokens" in name] == ["transformer.encoder.embedder.tokens.weight"]
    figures = train(engine, batch_of, range(2), micro_rows=4)
    assert figures == pytest.approx(expected_figures, rel=1e-5)
    require_close(state_of(engine), expected, tolerance=1e-5)


def test_initial_weights_follow_the_side_they_are_on() -> None:
    model = EncoderDecoderOptions.model_validate(
        MODEL | {"decoder": MODEL["decoder"] | {"init": {"std": 0.5}}, "encoder": MODEL["encoder"] | {"num_layers": 3}}
    )
    objective = Copying(model)
    for name, parameter in objective.named_parameters():
        assert objective.initial_value(name, parameter.shape, 0).shape == parameter.shape

    def std(name: str) -> float:
        return float(objective.initial_value(f"transformer.{name}", (300, 300), 0).std())

    assert std("encoder.embedder.tokens.weight") == pytest.approx(0.02, rel=0.02)
    assert std("decoder.score_bias.table.weight") == pytest.approx(0.5, rel=0.02)
    # Two branches in each of three blocks, three in each of two.
    assert std("encoder.blocks.0.mixer.output.weight") == pytest.approx(0.02 / math.sqrt(6), rel=0.02)
    for part in ("mixer.output", "cross.output", "feed_forward.down"):
        assert std(f"decoder.blocks.1.{part}.weight") == pytest.approx(0.5 / math.sqrt(6), rel=0.02)


def test_lengths_are_held_to_the_side_that_reads_them(recipe_of: Callable[..., Recipe]) -> None:
    short = MODEL["decoder"] | {"embedder": {"vocab_size": 19, "max_length": 4}}
    tree = recipe_of().tree() | {"model": MODEL | {"decoder": short}}

    def check(**source: Any) -> None:
        Recipe.model_validate(tree | {"data": tree["data"] | {"train": {"shards": ["none.tar"]} | source}})

    check(kind="prefix_target", input_length=8, target_length=4)
    check(kind="token_windows", length=8)
    with pytest.raises(ValueError, match=r"input_length=9 is longer than model\.encoder\.embedder\.max_length=8"):
        check(kind="prefix_target", input_length=9, target_length=4)
    with pytest.raises(ValueError, match=r"target_length=5 is longer than model\.decoder\.embedder\.max_length=4"):
        check(kind="prefix_target", input_length=8, target_length=5)


def test_causal_lm_refuses_two_transformers() -> None:
    with pytest.raises(ConfigError, match=r"objective causal_lm: .* model\.kind is encoder_decoder"):
        CausalLM(CausalLMOptions(), OPTIONS)  # type: ignore[arg-type]
