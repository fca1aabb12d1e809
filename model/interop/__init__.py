"""Hugging Face formats: a family is a table of names and a mapping of the configuration, both ways.

Adding a family: a module with a `FAMILY`, and a line in `families.FAMILIES`.

    model.interop.described  the module with a model and its head
    model.interop.family     what a family is; translating weights by its table
    model.interop.families   the families by model_type
    model.interop.gpt2       learned positions, layer norm, GELU
    model.interop.llama      rotary positions, RMS norm, SwiGLU
    model.interop.mistral    Llama with a sliding window
    model.interop.qwen3      Llama with normed queries and keys
    model.interop.rotary_decoders  what the last three have in common
"""

__all__ = ["described", "families", "family", "gpt2", "llama", "mistral", "qwen3", "rotary_decoders"]
