"""Images and videos as tokens: patches, prefix tokens, masks, positions on a grid."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from configs.errors import ConfigError
from model.embedders.options import PatchesOptions, TubeletsOptions
from model.embedders.patches import PatchEmbedder
from model.options import TransformerOptions
from model.positions.grid import grid_places, resized
from model.transformer import Transformer

DIM = 8


def randomised(module: torch.nn.Module) -> Any:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0.0, 0.5, generator=generator)
    return module.double()


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def transformer(**changes: Any) -> Any:
    options: dict[str, Any] = {
        "embedder": {"kind": "patches", "image_size": [4, 6], "patch_size": 2},
        "dim": DIM,
        "num_layers": 2,
        "mixer": {"num_heads": 2},
        "positions": "learned",
        "visibility": "bidirectional",
    }
    return randomised(Transformer(TransformerOptions.model_validate(options | changes)))


def test_a_token_is_the_projection_of_its_patch() -> None:
    embedder = randomised(PatchEmbedder(PatchesOptions(image_size=(4, 6), patch_size=2, cls=False), DIM))
    images = noise(2, 3, 4, 6)
    tokens = embedder(images)
    assert tokens.grid == (2, 3)
    matrix = embedder.projection.weight.flatten(1)
    for number, (row, column) in enumerate(itertools.product(range(2), range(3))):
        patch = images[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].flatten(1)
        torch.testing.assert_close(tokens.x[:, number], patch @ matrix.T + embedder.projection.bias)
        assert tokens.positions[0, number].tolist() == [row, column]


def test_a_box_of_a_video_has_three_places() -> None:
    options = TubeletsOptions(video_size=(4, 4, 4), tubelet_size=(2, 2, 4), channels=1)
    embedder = randomised(PatchEmbedder(options, DIM))
    video = noise(1, 1, 4, 4, 4)
    tokens = embedder(video)
    assert tokens.grid == (2, 2, 1)
    assert tokens.positions[0].tolist() == [[0, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0]]
    expected = (video[0, 0, 2:, :2] * embedder.projection.weight[:, 0]).sum((1, 2, 3)) + embedder.projection.bias
    torch.testing.assert_close(tokens.x[0, 2], expected)


def test_the_prefix_is_cls_then_extra_tokens_then_registers() -> None:
    options = PatchesOptions(image_size=4, patch_size=2, num_extra=1, num_registers=2)
    embedder = randomised(PatchEmbedder(options, DIM))
    tokens = embedder(noise(3, 3, 4, 4))
    assert (tokens.num_prefix, tokens.x.shape) == (4, (3, 8, DIM))
    assert (tokens.positions[:, :4] == 0).all()
    expected = torch.cat((embedder.cls.weight, embedder.extra.weight, embedder.registers.weight))
    torch.testing.assert_close(tokens.x[1, :4], expected)


def test_masked_patches_get_the_mask_token_and_keep_their_positions() -> None:
    model = transformer(embedder={"kind": "patches", "image_size": [4, 6], "patch_size": 2, "mask_token": True})
    images, mask = noise(2, 3, 4, 6), torch.tensor([[True, False, False, True, False, True], [False] * 6])
    masked, plain = model.embed(images, mask).body, model.embed(images).body
    table = model.position_embedding.table.weight[1:]
    torch.testing.assert_close(masked[mask], (model.embedder.mask_token.weight + table)[mask[0]])
    torch.testing.assert_close(masked[~mask], plain[~mask])


def test_registers_have_no_positions() -> None:
    model = transformer(embedder={"kind": "patches", "image_size": 4, "patch_size": 2, "num_registers": 2})
    assert len(model.position_embedding.table.weight) == 1 + 4
    x_BTD = model.embed(noise(1, 3, 4, 4)).x[0]
    torch.testing.assert_close(x_BTD[1:3], model.embedder.registers.weight)
    torch.testing.assert_close(x_BTD[0], model.embedder.cls.weight[0] + model.position_embedding.table.weight[0])


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("wanted", [(2, 3), (5, 7), (2, 2), (1, 4), (4, 3)])
def test_a_table_is_resized_as_a_picture_is(wanted: tuple[int, int], antialias: bool) -> None:
    table = noise(12, DIM)
    picture = table.view(1, 4, 3, DIM).permute(0, 3, 1, 2)
    expected = interpolate(picture, size=wanted, mode="bicubic", align_corners=False, antialias=antialias)
    found = resized(table, (4, 3), wanted, antialias=antialias)
    torch.testing.assert_close(found, expected[0].flatten(1).T)


def test_images_of_another_size_get_interpolated_positions() -> None:
    model = transformer()
    images = noise(1, 3, 8, 4)
    added = model.embed(images).x - model.embedder(images).x
    table = model.position_embedding.table.weight
    torch.testing.assert_close(added[0], torch.cat((table[:1], resized(table[1:], (2, 3), (4, 2)))))


def test_sinusoids_on_a_grid_have_a_share_for_every_axis() -> None:
    model = transformer(positions={"kind": "sinusoidal", "last_axis_first": True})
    images = noise(1, 3, 4, 6)
    added = (model.embed(images).x - model.embedder(images).x)[0]
    assert (added[0] == 0).all()
    for number, (row, column) in enumerate(itertools.product(range(2), range(3))):
        expected = [f(place * rate) for place in (column, row) for f in (math.sin, math.cos) for rate in (1.0, 0.01)]
        torch.testing.assert_close(added[1 + number], torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("shared", [False, True])
def test_the_bias_of_a_pair_depends_on_its_offset(shared: bool) -> None:
    model = transformer(positions={"kind": "grid_bias", "shared": shared})
    bias = model.grid_bias if shared else model.grid_biases[1]
    rows = bias.table.weight.view(-1, 2)
    found = bias(model.embedder(noise(1, 3, 4, 6)))[0]
    places = list(itertools.product(range(2), range(3)))
    for (t, query), (s, key) in itertools.product(enumerate(places), enumerate(places)):
        offset = 5 * (query[0] - key[0] + 1) + (query[1] - key[1] + 2)
        torch.testing.assert_close(found[:, 1 + t, 1 + s], rows[offset])
    torch.testing.assert_close(found[:, 0, 1:], rows[15, :, None].expand(2, 6))
    torch.testing.assert_close(found[:, 1:, 0], rows[16, :, None].expand(2, 6))
    torch.testing.assert_close(found[:, 0, 0], rows[17])


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "grid_bias", "rotary"])
def test_order_of_kept_tokens_does_not_matter(positions: str) -> None:
    model = transformer(positions=positions)
    images, keep = noise(2, 3, 4, 6), torch.tensor([[0, 2, 5], [4, 1, 3]])
    shuffled = keep[:, [2, 0, 1]]
    found = model(images, keep_BK=keep)
    assert found.x.shape == (2, 4, DIM)
    torch.testing.assert_close(found.body[:, [2, 0, 1]], model(images, keep_BK=shuffled).body)
    everything = model(images, keep_BK=torch.arange(6).expand(2, 6))
    torch.testing.assert_close(everything.x, model(images).x)
    assert not torch.allclose(found.body[0, 0], everything.body[0, 0])


def test_places_are_counted_row_by_row_behind_the_prefix() -> None:
    assert grid_places((2, 2), 1)[0].tolist() == [[0, 0], [0, 0], [0, 1], [1, 0], [1, 1]]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 4, 5), r"\[4, 5\] is not a multiple of the patch \[2, 2\]"),
        ((1, 1, 4, 6), "channels=3: the data have 1"),
    ],
)
def test_images_that_do_not_fit_are_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        transformer()(noise(*shape))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embedder": {"kind": "patches", "image_size": 9, "patch_size": 2}}, r"\[9, 9\] is not a multiple"),
        ({"positions": "alibi"}, "alibi does not go with model.embedder patches"),
        (
            {"embedder": {"vocab_size": 3, "max_length": 4}, "positions": "grid_bias"},
            "grid_bias does not go with model.embedder text",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        transformer(**changes)
