"""`HubertModel`: the encoder of wav2vec 2.0, trained to predict clusters (Hsu et al. 2021)."""

from __future__ import annotations

from typing import Any

from model.embedders.options import WaveformOptions
from model.interop import wav2vec2
from model.interop.family import ANY, Config, Description, Family, head_differences


def describe(config: Config, _architecture: str) -> Description:
    """The model that a config.json describes."""
    return Description(wav2vec2.described_model(config))


def misfits(description: Description) -> list[str]:
    """The keys that keep a model from being a HuBERT."""
    return wav2vec2.model_misfits(description.model, feature_norm=ANY) + head_differences(description)


def config(description: Description) -> dict[str, Any]:
    """The content of config.json."""
    embedder = description.model.embedder
    assert isinstance(embedder, WaveformOptions)
    return {
        "model_type": "hubert",
        "architectures": ["HubertModel"],
        **wav2vec2.model_config(description.model),
        "feat_proj_layer_norm": embedder.feature_norm,
    }


FAMILY = Family(
    name="hubert",
    architectures={"HubertModel": ""},
    describe=describe,
    config=config,
    misfits=misfits,
    names=wav2vec2.NAMES,
)
