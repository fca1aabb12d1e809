"""`XLMRobertaXLModel` and `XLMRobertaXLForMaskedLM`: RoBERTa with norms before the branches (Goyal et al. 2021)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from model.interop.family import Rename
from model.interop.roberta import describe, misfits, roberta
from model.interop.text_encoder import BRANCHES, EMBEDDINGS

_DEFAULTS = {
    "vocab_size": 250880,
    "hidden_size": 2560,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "intermediate_size": 10240,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
}
_CHANGES: dict[str, Any] = {"norm_place": "pre", "embedding_norm": False}
_BLOCK, _LAYER = "blocks.{layer}", "encoder.layer.{layer}"

FAMILY = replace(
    roberta("xlm-roberta-xl", "XLMRobertaXL", _DEFAULTS),
    describe=partial(describe, _DEFAULTS, _CHANGES),
    misfits=partial(misfits, _CHANGES),
    names=(
        *EMBEDDINGS,
        *BRANCHES,
        Rename(f"{_LAYER}.attention.self_attn_layer_norm.{{leaf}}", f"{_BLOCK}.mixer_branch.norm.{{leaf}}"),
        Rename(f"{_LAYER}.LayerNorm.{{leaf}}", f"{_BLOCK}.feed_forward_branch.norm.{{leaf}}"),
        Rename("encoder.LayerNorm.{leaf}", "norm.{leaf}"),
    ),
)
