"""Families of images compute what transformers' classes compute."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from configs.errors import ConfigError
from model.embedders.options import PatchesOptions
from model.interop.families import family, family_of
from model.interop.family import Description
from model.options import TransformerOptions
from model.tokens import Tokens
from tests.model.interop.parity import Pair, pair_of

SIZES = [(2, 8, 8), (1, 8, 8), (3, 8, 8), (3, 12, 12), (2, 6, 10), (1, 4, 4)]
SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "image_size": 8,
    "patch_size": 2,
}
DINOV2 = {key: value for key, value in SMALL.items() if key != "intermediate_size"}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("ViTModel", SMALL),
    "vit-wide-pooler": (
        "ViTModel",
        SMALL | {"qkv_bias": False, "pooler_output_size": 6, "hidden_act": "gelu_pytorch_tanh", "num_channels": 1},
    ),
    "deit": ("DeiTModel", SMALL),
    "deit-relu": ("DeiTModel", SMALL | {"hidden_act": "relu", "pooler_act": "gelu", "layer_norm_eps": 1e-3}),
    "beit": ("BeitModel", SMALL | {"use_relative_position_bias": True, "use_mask_token": True}),
    "beit-shared-first": (
        "BeitModel",
        SMALL | {"use_shared_relative_position_bias": True, "use_mean_pooling": False, "use_mask_token": True},
    ),
    "beit-absolute": ("BeitModel", SMALL | {"use_absolute_position_embeddings": True, "layer_scale_init_value": 0.0}),
    "beit-nowhere": ("BeitModel", SMALL | {"num_hidden_layers": 1}),
    "dinov2": ("Dinov2Model", DINOV2),
    "dinov2-giant": ("Dinov2Model", DINOV2 | {"use_swiglu_ffn": True, "layerscale_value": 0.5, "mlp_ratio": 3}),
    "dinov2-unmasked": ("Dinov2Model", DINOV2 | {"use_mask_token": False, "mlp_ratio": 2}),
    "dinov2-registers": ("Dinov2WithRegistersModel", DINOV2),
    "dinov2-registers-giant": (
        "Dinov2WithRegistersModel",
        DINOV2 | {"use_swiglu_ffn": True, "num_register_tokens": 1, "qkv_bias": False},
    ),
    "vit-mae": ("ViTMAEModel", SMALL | {"mask_ratio": 0.0}),
    "vit-mae-half": ("ViTMAEModel", SMALL | {"mask_ratio": 0.5, "num_channels": 1, "qkv_bias": False}),
}

MAE = SMALL | {"decoder_hidden_size": 8, "decoder_num_attention_heads": 2, "decoder_num_hidden_layers": 1}
WHOLE_MAE: dict[str, dict[str, Any]] = {
    "mae": MAE | {"decoder_intermediate_size": 12},
    "mae-one-channel": MAE | {"num_channels": 1, "mask_ratio": 0.5, "qkv_bias": False, "patch_size": 4},
}


@pytest.fixture(scope="module", params=CASES)
def pair(request: pytest.FixtureRequest) -> Pair:
    import transformers

    name, config = CASES[request.param]
    cls = getattr(transformers, name)
    theirs = cls(cls.config_class(**config, attn_implementation="sdpa"))
    if name.startswith("ViTMAE"):
        write_sinusoids(theirs)
    # Not by their eager attention, whose softmax is in float32.
    return pair_of(theirs)


def write_sinusoids(theirs: Any) -> None:
    """Their tables of positions as their files have them; a new model of transformers 5.23 has zeros there."""
    from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding

    for name, table in theirs.named_parameters():
        if not table.requires_grad:
            side, dim = math.isqrt(table.shape[1]), table.shape[-1]
            rows = build_2d_sinusoidal_position_embedding(side, side, dim, cls_token=True)
            # As in their `initialize_weights`: columns before rows.
            with torch.no_grad():
                theirs.get_parameter(name).copy_(torch.cat((rows[:, dim // 2 :], rows[:, : dim // 2]), dim=1)[None])


def pictures(pair: Pair, batch: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(batch)
    channels = cast(PatchesOptions, pair.ours.description.model.embedder).channels
    return torch.randn(batch, channels, height, width, generator=generator)


def theirs_of(pair: Pair, images: Tensor, mask: Tensor | None) -> Any:
    """Their outputs; a class that takes no mask is not given one."""
    more: dict[str, Any] = {}
    if mask is not None:
        more["bool_masked_pos"] = mask
    if pair.family.name in ("vit", "deit"):
        more["interpolate_pos_encoding"] = True
    if pair.family.name == "vit_mae":
        more["noise"] = torch.arange(16.0).expand(len(images), -1)
    return pair.theirs(images, **more)


def ours_of(pair: Pair, images: Tensor, mask: Tensor | None) -> Tokens:
    if pair.family.name == "vit_mae":
        num_kept = int(16 * (1 - pair.theirs.config.mask_ratio))  # type: ignore[union-attr]
        return pair.ours.transformer(images, keep_BK=torch.arange(num_kept).expand(len(images), -1))
    return pair.ours.transformer(images, mask)


def random_mask(images: Tensor) -> Tensor:
    num_patches = images[0, 0].numel() // 4
    return torch.rand(len(images), num_patches, generator=torch.Generator().manual_seed(5)) < 0.4


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_outputs_and_gradients_are_the_same(pair: Pair, size: tuple[int, int, int]) -> None:
    if pair.family.name == "vit_mae" and size[1:] != (8, 8):
        pytest.skip("transformers interpolates what is computed here")
    images = pictures(pair, *size)
    has_mask = cast(PatchesOptions, pair.ours.description.model.embedder).mask_token
    mask = random_mask(images) if has_mask else None

    def whole(pair: Pair) -> tuple[Tensor, Tensor]:
        pixels = images.to(pair.dtype)
        return ours_of(pair, pixels, mask).x, theirs_of(pair, pixels, mask).last_hidden_state

    def pooled(pair: Pair) -> tuple[Tensor, Tensor]:
        hidden = ours_of(pair, images.to(pair.dtype), None)
        ours = pair.ours.head(hidden) if hasattr(pair.ours, "head") else hidden.x[:, 0]
        return ours, theirs_of(pair, images.to(pair.dtype), None).pooler_output

    pair.require_same(whole)
    if pair.family.name != "vit_mae":
        pair.require_same(pooled)


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("name", WHOLE_MAE)
def test_the_decoder_of_pixels_is_the_same(name: str, batch: int, tmp_path: Path) -> None:
    import transformers

    config = transformers.ViTMAEConfig(**WHOLE_MAE[name], attn_implementation="sdpa")
    theirs = transformers.ViTMAEForPreTraining(config)
    write_sinusoids(theirs)
    pair = pair_of(theirs)
    images, num_patches = pictures(pair, batch, 8, 8), (8 // config.patch_size) ** 2
    noise = torch.rand(batch, num_patches, generator=torch.Generator().manual_seed(batch))
    keep = noise.argsort(dim=1)[:, : int(num_patches * (1 - config.mask_ratio))]

    def decoded(pair: Pair) -> tuple[Tensor, Tensor]:
        pixels = images.to(pair.dtype)
        hidden = pair.ours.transformer(pixels, keep_BK=keep)
        return pair.ours.head(hidden, keep), pair.theirs(pixels, noise=noise).logits

    pair.require_same(decoded)
    pair.require_round_trip(tmp_path)


def test_round_trip(pair: Pair, tmp_path: Path) -> None:
    pair.require_round_trip(tmp_path)


def test_description_and_configuration_say_the_same(pair: Pair) -> None:
    description = pair.ours.description
    config = pair.family.config(description)
    assert pair.family.describe(config, config["architectures"][0]) == description
    assert family_of(description).name == pair.family.name


def test_files_may_leave_out_defaults(pair: Pair) -> None:
    short = json.loads(pair.theirs.config.to_json_string(use_diff=True))  # type: ignore[union-attr, operator]
    assert pair.family.describe(short, pair.architecture) == pair.ours.description


TOWER: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
}
TEXTS = TOWER | {"vocab_size": 23, "max_position_embeddings": 9}
IMAGES = TOWER | {"image_size": 8, "patch_size": 2}
CLIPS: dict[str, dict[str, Any]] = {
    "clip": {"text_config": TEXTS | {"eos_token_id": 3}, "vision_config": IMAGES, "projection_dim": 12},
    "clip-largest-id": {
        "text_config": TEXTS | {"eos_token_id": 2, "hidden_act": "gelu", "num_hidden_layers": 1},
        "vision_config": IMAGES | {"hidden_size": 8, "num_channels": 1, "layer_norm_eps": 1e-3},
        "logit_scale_init_value": 1.0,
    },
}


@pytest.fixture(scope="module", params=CLIPS)
def clip(request: pytest.FixtureRequest) -> Pair:
    import transformers

    config = transformers.CLIPConfig(**CLIPS[request.param], attn_implementation="sdpa")
    return pair_of(transformers.CLIPModel(config))


@pytest.mark.parametrize("size", [(2, 8, 8), (1, 8, 8), (3, 6, 10)], ids=lambda size: "x".join(map(str, size)))
def test_similarities_of_images_and_texts_are_the_same(clip: Pair, size: tuple[int, int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    channels = clip.ours.description.model.image.embedder.channels
    images = torch.randn(size[0], channels, *size[1:], generator=generator)
    tokens = torch.randint(4, 22, (4, 9), generator=generator)
    # Texts end at different places; behind the first end there is padding, and ends again.
    ends = torch.tensor([3, 8, 5, 1])
    tokens[torch.arange(4), ends] = 22 if clip.ours.description.model.end_token is None else 3
    tokens[0, 4:] = 3
    keep = (torch.arange(9) <= ends[:, None]).long()

    def similarities(pair: Pair) -> tuple[Tensor, Tensor]:
        pixels = images.to(pair.dtype)
        theirs = pair.theirs(tokens, pixels, attention_mask=keep, interpolate_pos_encoding=True)
        return pair.ours.transformer(pixels, tokens, keep - 1), theirs.logits_per_image

    def of_texts(pair: Pair) -> tuple[Tensor, Tensor]:
        theirs = pair.theirs.get_text_features(tokens, attention_mask=keep)  # type: ignore[operator]
        return pair.ours.transformer.of_texts(tokens, keep - 1), theirs.pooler_output

    clip.require_same(similarities)
    clip.require_same(of_texts)


def test_round_trip_of_two_towers(clip: Pair, tmp_path: Path) -> None:
    clip.require_round_trip(tmp_path)
    description = clip.ours.description
    assert family_of(description).name == "clip"
    assert clip.family.describe(clip.family.config(description), "CLIPModel") == description


@pytest.mark.parametrize(
    ("name", "changes", "misfit"),
    [
        ("vit", {"visibility": "causal"}, "model.visibility=causal"),
        ("vit", {"embedder": {"kind": "patches", "num_registers": 1}}, "model.embedder.num_registers=1"),
        ("deit", {}, "model.embedder.num_extra=0"),
        ("beit", {"positions": {"kind": "learned", "antialias": True}}, "model.positions="),
        ("dinov2", {"layer_scale": None}, "model.layer_scale=None"),
        ("dinov2", {"layer_scale": 1.0, "hidden_dim": 17}, "model.hidden_dim=17"),
        ("dinov2_with_registers", {}, "model.positions="),
        ("vit_mae", {"positions": {"kind": "sinusoidal"}}, "model.positions="),
        ("vit_mae", {"embedder": {"kind": "patches", "image_size": [32, 16]}}, "not a square"),
    ],
)
def test_a_model_that_a_family_does_not_compute_is_refused(name: str, changes: dict[str, Any], misfit: str) -> None:
    base: dict[str, Any] = {
        "embedder": {"kind": "patches"},
        "dim": 16,
        "num_layers": 1,
        "mixer": {"num_heads": 2},
        "feed_forward": "gelu",
        "norm": "layer",
        "bias": True,
        "visibility": "bidirectional",
        "positions": "learned",
    }
    model = TransformerOptions.model_validate(base | changes)
    assert any(line.startswith(misfit) or misfit in line for line in family(name).misfits(Description(model)))


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("vit", {"hidden_act": "mish"}, "hidden_act mish"),
        (
            "beit",
            {"use_relative_position_bias": True, "use_absolute_position_embeddings": True},
            "use_absolute_position_embeddings and use_relative_position_bias",
        ),
        ("dinov2", {"hidden_dropout_prob": 0.1}, "hidden_dropout_prob=0.1"),
    ],
)
def test_what_is_not_computed_is_refused(name: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        family(name).describe(config, "")
