"""`ViTMAEModel`, `ViTMAEForPreTraining`: sinusoids on the grid, a decoder of pixels (He et al. 2022).

On images of another size positions are the sinusoids of that grid, where transformers interpolates its table.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from model.interop import vision
from model.interop.family import (
    ANY,
    Config,
    Description,
    Family,
    Rename,
    attention_bias,
    differences,
    head_differences,
)
from model.options import PixelDecoderOptions
from model.positions.absolute import SinusoidalPositions as SinusoidalModule
from model.positions.grid import grid_places
from model.positions.options import SinusoidalPositions
from model.tokens import Tokens

_DEFAULTS = vision.DEFAULTS | {
    "decoder_num_attention_heads": 16,
    "decoder_hidden_size": 512,
    "decoder_num_hidden_layers": 8,
    "decoder_intermediate_size": 2048,
    "hidden_dropout_prob": 0.0,
}
_POSITIONS = SinusoidalPositions(last_axis_first=True)
_TABLE = "embeddings.position_embeddings"


def describe(config: Config, architecture: str) -> Description:
    """The model that a config.json describes."""
    config = _DEFAULTS | dict(config)
    model = vision.encoder(config, vision.patches(config), _POSITIONS)
    decoder = PixelDecoderOptions(
        dim=config["decoder_hidden_size"],
        num_layers=config["decoder_num_hidden_layers"],
        mixer=vision.mixer(config, config["decoder_num_attention_heads"]),
        hidden_dim=config["decoder_intermediate_size"],
    )
    return Description(model, decoder if architecture.endswith("ForPreTraining") else None)


def misfits(description: Description) -> list[str]:
    """The keys that keep a model from being an MAE."""
    model, head = description.model, description.head
    found = vision.encoder_misfits(description, positions=_POSITIONS)
    if len(set(model.embedder.grid or ())) > 1:
        found.append(f"model.embedder.image_size: its grid is {model.embedder.grid}, not a square")
    sizes = dict.fromkeys(("dim", "num_layers", "mixer", "hidden_dim"), ANY)
    found += head_differences(description, {"kind": "pixel_decoder", **sizes})
    if not found and isinstance(head, PixelDecoderOptions):
        # Whether its attention has biases is said once, for both.
        mixer = vision.MIXER | {"bias": attention_bias(model.mixer, model)}
        wanted = vision.wanted_of(embedder={"kind": "vectors"}, positions=_POSITIONS, mixer=mixer)
        found += differences(head.transformer(model), "head", **wanted)
    return found


def config(description: Description) -> dict[str, Any]:
    """The content of config.json; how patches are masked and pixels normalised belongs to the objective."""
    head = description.head
    if not isinstance(head, PixelDecoderOptions):
        return vision.encoder_config(description, "vit_mae", "ViTMAEModel")
    return vision.encoder_config(description, "vit_mae", "ViTMAEForPreTraining") | {
        "decoder_hidden_size": head.dim,
        "decoder_num_hidden_layers": head.num_layers,
        "decoder_num_attention_heads": head.mixer.num_heads,
        "decoder_intermediate_size": head.hidden_dim or 4 * head.dim,
    }


def computed(description: Description) -> dict[str, Tensor]:
    """The tables of positions."""
    grid = description.model.embedder.grid
    assert grid is not None
    if not isinstance(description.head, PixelDecoderOptions):
        return {_TABLE: _sinusoids(grid, description.model.dim)}
    return {
        f"vit.{_TABLE}": _sinusoids(grid, description.model.dim),
        "decoder.decoder_pos_embed": _sinusoids(grid, description.head.dim),
    }


def _sinusoids(grid: tuple[int, ...], dim: int) -> Tensor:
    """[1, 1 + N, dim]."""
    places = grid_places(grid, 1)
    tokens = Tokens(torch.zeros(1, places.shape[1], dim), places, num_prefix=1, grid=grid)
    return SinusoidalModule(_POSITIONS, dim)(tokens)  # type: ignore[no-any-return]


FAMILY = Family(
    name="vit_mae",
    architectures={"ViTMAEForPreTraining": "vit.", "ViTMAEModel": ""},
    describe=describe,
    config=config,
    misfits=misfits,
    names=(*vision.EMBEDDINGS, vision.FINAL_NORM, *vision.BLOCKS),
    head_names=(
        Rename("decoder.decoder_embed.{leaf}", "embed.{leaf}"),
        Rename("decoder.mask_token", "mask_token.weight", lead=1),
        Rename("decoder.decoder_norm.{leaf}", "transformer.norm.{leaf}"),
        Rename("decoder.decoder_pred.{leaf}", "predict.{leaf}"),
        *vision.block_names("decoder.decoder_layers.{layer}", "transformer.blocks.{layer}"),
    ),
    ignored=(rf"(vit\.)?{_TABLE}".replace(".p", r"\.p"), r"decoder\.decoder_pos_embed"),
    computed=computed,
)
