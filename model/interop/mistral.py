"""`MistralForCausalLM`: Llama with a sliding window (Jiang et al. 2023)."""

from __future__ import annotations

from typing import Any

from model.interop.family import ANY, Config, Description, Family
from model.interop.llama import HEAD_NAMES, NAMES
from model.interop.rotary_decoders import common_config, described, rotary_misfits, windows_of


def describe(config: Config, architecture: str) -> Description:
    """The model that a config.json describes."""
    return described(config, architecture, windows=[config.get("sliding_window", 4096)])


def misfits(description: Description) -> list[str]:
    """The keys that keep a model from being a Mistral."""
    return rotary_misfits(description, mixer={"window": ANY})


def config(description: Description) -> dict[str, Any]:
    """The content of config.json."""
    return common_config(description, "mistral", "Mistral") | {"sliding_window": windows_of(description)[0]}


FAMILY = Family(
    name="mistral",
    architectures={"MistralForCausalLM": "model.", "MistralModel": ""},
    describe=describe,
    config=config,
    misfits=misfits,
    names=NAMES,
    head_names=HEAD_NAMES,
    ignored=(r".*rotary_emb\.inv_freq",),
)
