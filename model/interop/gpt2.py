"""`GPT2LMHeadModel`: learned positions, layer norm with bias, GELU (Radford et al. 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from model.options import TransformerOptions

_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new"}


def misfits(options: TransformerOptions) -> list[str]:
    """The keys that keep a model from being a GPT-2."""
    found = [
        f"model.{key}={getattr(options, key)}"
        for key, value in {"norm": "layer", "positions": "learned", "bias": True}.items()
        if getattr(options, key) != value
    ]
    if options.feed_forward not in _ACTIVATIONS:
        found.append(f"model.feed_forward={options.feed_forward}")
    if options.kv_heads != options.num_heads:
        found.append(f"model.num_kv_heads={options.kv_heads}")
    if options.head_width * options.num_heads != options.dim:
        found.append(f"model.head_dim={options.head_width}")
    return found


def config(options: TransformerOptions, *, tied_head: bool) -> dict[str, object]:
    """The content of config.json."""
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": options.vocab_size,
        "n_positions": options.max_length,
        "n_embd": options.dim,
        "n_layer": options.num_layers,
        "n_head": options.num_heads,
        "n_inner": options.hidden_width,
        "activation_function": _ACTIVATIONS[options.feed_forward],
        "layer_norm_epsilon": options.norm_eps,
        "resid_pdrop": options.dropout,
        "embd_pdrop": options.dropout,
        "attn_pdrop": 0.0,
        "tie_word_embeddings": tied_head,
    }


def tensors(weights: dict[str, Tensor], options: TransformerOptions) -> dict[str, Tensor]:
    """Weights of `transformer.` and `head.` under GPT-2's names. Its matrices are stored [in, out]."""
    renamed = {
        "transformer.wte.weight": weights["transformer.embedding.weight"],
        "transformer.wpe.weight": weights["transformer.position_embedding.weight"],
        "transformer.ln_f.weight": weights["transformer.norm.weight"],
        "transformer.ln_f.bias": weights["transformer.norm.bias"],
    }
    if "head.weight" in weights:
        renamed["lm_head.weight"] = weights["head.weight"]
    for layer in range(options.num_layers):
        ours, theirs = f"transformer.blocks.{layer}", f"transformer.h.{layer}"
        for leaf in ("weight", "bias"):
            parts = [weights[f"{ours}.attention.{part}.{leaf}"] for part in ("query", "key", "value")]
            renamed[f"{theirs}.ln_1.{leaf}"] = weights[f"{ours}.attention_norm.{leaf}"]
            renamed[f"{theirs}.attn.c_attn.{leaf}"] = _stored(torch.cat(parts))
            renamed[f"{theirs}.attn.c_proj.{leaf}"] = _stored(weights[f"{ours}.attention.output.{leaf}"])
            renamed[f"{theirs}.ln_2.{leaf}"] = weights[f"{ours}.feed_forward_norm.{leaf}"]
            renamed[f"{theirs}.mlp.c_fc.{leaf}"] = _stored(weights[f"{ours}.feed_forward.up.{leaf}"])
            renamed[f"{theirs}.mlp.c_proj.{leaf}"] = _stored(weights[f"{ours}.feed_forward.down.{leaf}"])
    return renamed


def _stored(tensor: Tensor) -> Tensor:
    return tensor.t().contiguous() if tensor.dim() == 2 else tensor
