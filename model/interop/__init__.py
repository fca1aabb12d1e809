"""Hugging Face formats: a family is a table of names and a mapping of the configuration, both ways.

Adding a family: a module with a `FAMILY`, and a line in `families.FAMILIES`.

    model.interop.described  the module with a model and its head
    model.interop.family     what a family is; translating weights by its table
    model.interop.families   the families by model_type
    model.interop.gpt2       learned positions, layer norm, GELU
    model.interop.hugging_face  reading config.json and safetensors
    model.interop.importing  a Hugging Face folder as ours; what of it found a place
    model.interop.model_folder  our folder: model.yaml and weights under our names
    model.interop.llama      rotary positions, RMS norm, SwiGLU
    model.interop.mistral    Llama with a sliding window
    model.interop.qwen3      Llama with normed queries and keys
    model.interop.rotary_decoders  what the last three have in common
"""

__all__ = [
    "described",
    "families",
    "family",
    "gpt2",
    "hugging_face",
    "importing",
    "llama",
    "mistral",
    "model_folder",
    "qwen3",
    "rotary_decoders",
]
