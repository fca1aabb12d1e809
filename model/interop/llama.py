"""`LlamaForCausalLM`: rotary positions, RMS norm, gated feed-forward (Touvron et al. 2023)."""

from __future__ import annotations

from torch import Tensor

from model.options import TransformerOptions

_BLOCK = {
    "attention_norm.weight": "input_layernorm.weight",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj",
    "feed_forward_norm.weight": "post_attention_layernorm.weight",
    "feed_forward.gate": "mlp.gate_proj",
    "feed_forward.up": "mlp.up_proj",
    "feed_forward.down": "mlp.down_proj",
}


def misfits(options: TransformerOptions) -> list[str]:
    """The keys that keep a model from being a Llama."""
    wanted = {"norm": "rms", "positions": "rotary", "feed_forward": "swiglu"}
    return [f"model.{key}={getattr(options, key)}" for key, value in wanted.items() if getattr(options, key) != value]


def config(options: TransformerOptions, *, tied_head: bool) -> dict[str, object]:
    """The content of config.json."""
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": options.vocab_size,
        "hidden_size": options.dim,
        "intermediate_size": options.hidden_width,
        "num_hidden_layers": options.num_layers,
        "num_attention_heads": options.num_heads,
        "num_key_value_heads": options.kv_heads,
        "head_dim": options.head_width,
        "hidden_act": "silu",
        "max_position_embeddings": options.max_length,
        "rms_norm_eps": options.norm_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": options.rotary_base},
        "rope_theta": options.rotary_base,
        "attention_bias": options.bias,
        "mlp_bias": options.bias,
        "tie_word_embeddings": tied_head,
    }


def tensors(weights: dict[str, Tensor], options: TransformerOptions) -> dict[str, Tensor]:
    """Weights of `transformer.` and `head.` under Llama's names."""
    renamed = {
        "model.embed_tokens.weight": weights["transformer.embedding.weight"],
        "model.norm.weight": weights["transformer.norm.weight"],
    }
    if "head.weight" in weights:
        renamed["lm_head.weight"] = weights["head.weight"]
    for layer in range(options.num_layers):
        for ours, theirs in _BLOCK.items():
            for leaf in ("",) if ours.endswith("weight") else (".weight", ".bias"):
                name = f"transformer.blocks.{layer}.{ours}{leaf}"
                if name in weights:
                    renamed[f"model.layers.{layer}.{theirs}{leaf}"] = weights[name]
    return renamed
