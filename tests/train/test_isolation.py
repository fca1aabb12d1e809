"""What must not be seen changes nothing, bit for bit, in the model of every recipe under configs/."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from configs.recipe import load_tree
from configs.seeds import derive
from model.embedders.options import WaveformOptions
from model.embedders.text import TextEmbedder
from model.embedders.waveform import WaveformEmbedder, num_frames
from train.objectives.causal_lm import CausalLM
from train.objectives.masked_autoencoder import MaskedAutoencoder
from train.objectives.objective import Objective, build_objective
from train.objectives.pfn import PFN
from train.objectives.wav2vec2 import Wav2Vec2
from train.recipe import Recipe, load_recipe

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = [path for path in sorted(CONFIGS.rglob("*.yaml")) if "run" in load_tree(path)]
# Who sees whom is kept; what only makes a model large is not.
SMALLER = {"gpt2_124m": ["model.dim=48", "model.num_layers=2", "model.embedder.vocab_size=512"]}
ROWS = 3

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """Something that a model reads, and what of it must not be seen from where."""

    batch: Batch
    look: Callable[[Batch], Tensor]
    "What the model makes of a batch [B, places, ...]."
    hidden: Batch
    "Places of fields that are changed: bool, of the fields' shapes."
    blind: Tensor
    "From where that must not be seen: bool [B, places]."
    seeing: Tensor
    "From where it must be seen, so that the change is known to be one."


def random(name: str) -> torch.Generator:
    return torch.Generator().manual_seed(derive(0, name))


def changed(batch: Batch, hidden: Batch) -> Batch:
    """Other values of the same kind at these places."""
    other = dict(batch)
    for name, where in hidden.items():
        field = batch[name]
        if field.is_floating_point():
            replaced = field + 100 * torch.randn(field.shape, generator=random(name))
        else:
            replaced = torch.where(field == 0, 1, field - 1)
        other[name] = torch.where(where, replaced, field)
    return other


def text(recipe: Recipe, objective: Objective) -> Iterator[tuple[str, Case]]:
    model, length = cast(CausalLM, objective), 40
    entries = cast(TextEmbedder, model.transformer.embedder).tokens.num_embeddings
    tokens = torch.randint(2, entries, (ROWS, length), generator=random("tokens"))
    place = torch.arange(length).expand(ROWS, length)

    def look(batch: Batch) -> Tensor:
        return model.logits(batch["tokens"], batch.get("segments"))

    later = place >= 25
    yield "later tokens", Case({"tokens": tokens}, look, {"tokens": later}, ~later, later)
    segments = (place >= 12).long() + (place >= 27)
    packed, middle = {"tokens": tokens, "segments": segments}, segments == 1
    # The first token of a document: all others of it see it.
    yield "other documents of a row", Case(packed, look, {"tokens": place == 12}, ~middle, middle)
    padding = place < 5
    padded = {"tokens": tokens, "segments": torch.where(padding, -1, 0)}
    yield "padding", Case(padded, look, {"tokens": padding}, ~padding, padding)


def images(recipe: Recipe, objective: Objective) -> Iterator[tuple[str, Case]]:
    model = cast(MaskedAutoencoder, objective)
    embedder = cast(Any, model.transformer.options.embedder)
    (height, width), (ph, pw) = embedder.grid, embedder.patch
    image = torch.randn(ROWS, embedder.channels, height * ph, width * pw, generator=random("image"))
    mask = torch.rand(ROWS, height * width, generator=random("mask")).argsort(1) >= 5
    pixels = mask.view(ROWS, 1, height, width).repeat_interleave(ph, 2).repeat_interleave(pw, 3).expand_as(image)
    keep = (~mask).nonzero()[:, 1].view(ROWS, -1)

    def look(batch: Batch) -> Tensor:
        return cast(Tensor, model.head(model.transformer(batch["image"], keep_BK=keep), keep))

    every, none = torch.ones_like(mask), torch.zeros_like(mask)
    yield "masked patches", Case({"image": image}, look, {"image": pixels}, every, none)
    yield "other patches", Case({"image": image}, look, {"image": ~pixels}, none, every)


def speech(recipe: Recipe, objective: Objective) -> Iterator[tuple[str, Case]]:
    model = cast(Wav2Vec2, objective)
    options = cast(WaveformOptions, model.transformer.options.embedder)
    waveform, length = torch.randn(ROWS, 8000, generator=random("wave")), torch.tensor([8000, 7000, 5000])
    features = cast(WaveformEmbedder, model.transformer.embedder).features(waveform).detach()
    place = torch.arange(features.shape[1])
    padding = place >= num_frames(options, length)[:, None]
    mask = (torch.rand(padding.shape, generator=random("mask")) < 0.4) & ~padding

    # Frames of a group-normed convolution depend on the whole waveform, so frames are what is hidden here.
    def look(batch: Batch) -> Tensor:
        frames = model.transformer(waveform, length, mask_BT=mask, features_BTC=batch["features"])
        return cast(Tensor, frames.x)

    def at(places: Tensor) -> Batch:
        return {"features": places[..., None].expand_as(features)}

    batch, none = {"features": features}, torch.zeros_like(mask)
    yield "masked frames", Case(batch, look, at(mask), ~none, none)
    yield "padding", Case(batch, look, at(padding), ~padding, none)
    yield "other frames", Case(batch, look, at(~mask & ~padding), none, ~padding)


def tables(recipe: Recipe, objective: Objective) -> Iterator[tuple[str, Case]]:
    model, rows, columns = cast(PFN, objective), 12, 6
    batch = {
        "features": torch.randn(ROWS, rows, columns, generator=random("features")),
        "label": torch.randint(0, 3, (ROWS, rows), generator=random("label")),
        "num_features": torch.tensor([6, 4, 2]),
        "num_classes": torch.tensor([3, 3, 3]),
        "num_context": torch.tensor([5, 7, 9]),
    }
    row, column = torch.arange(rows), torch.arange(columns)
    is_query = row >= batch["num_context"][:, None]

    def look(batch: Batch) -> Tensor:
        return model.logits(*batch.values())[..., :3]

    none = torch.zeros_like(is_query)
    yield "labels that are asked for", Case(batch, look, {"label": is_query}, ~none, none)
    last = (row == rows - 1).expand(ROWS, rows)
    one_query = {"features": last[..., None].expand(ROWS, rows, columns)}
    yield "other rows that are asked for", Case(batch, look, one_query, ~last, last)
    no_feature = (column >= batch["num_features"][:, None])[:, None].expand(ROWS, rows, columns)
    yield "columns of padding", Case(batch, look, {"features": no_feature}, ~none, none)
    yield "labels that are known", Case(batch, look, {"label": (row == 0).expand(ROWS, rows)}, none, ~none)


CASES = {CausalLM: text, MaskedAutoencoder: images, Wav2Vec2: speech, PFN: tables}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
@torch.no_grad()
def test_what_must_not_be_seen_changes_nothing(path: Path) -> None:
    recipe = load_recipe(path, SMALLER.get(path.stem, []))
    objective = build_objective(recipe.objective, recipe.model).eval()
    for name, parameter in objective.named_parameters():
        # Far from the initial weights, under which tokens hardly look at each other.
        parameter.normal_(0.0, 0.3, generator=random(name))
    for name, case in CASES[type(objective)](recipe, objective):
        before, after = case.look(case.batch), case.look(changed(case.batch, case.hidden))
        is_same = (before == after).flatten(2).all(-1)
        assert not (case.blind & ~is_same).any(), f"{name}: seen from {(case.blind & ~is_same).nonzero().tolist()}"
        assert not (case.seeing & is_same).any(), f"{name}: not seen from {(case.seeing & is_same).nonzero().tolist()}"
