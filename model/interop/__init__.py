"""Hugging Face formats: a family is a table of names and a mapping of the configuration, both ways.

Adding a family: a module with a `FAMILY`, and a line in `families.FAMILIES`.

    model.interop.described  the module with a model and its head
    model.interop.family     what a family is; translating weights by its table
    model.interop.families   the families by model_type
    model.interop.gpt2       learned positions, layer norm, GELU
    model.interop.llama      rotary positions, RMS norm, SwiGLU

    model.interop.encoder_decoders  what the following have in common
    model.interop.t5                relative positions, RMS norm, no biases
    model.interop.bart              learned positions, norms after the branches
    model.interop.pegasus           sinusoidal positions, norms before the branches
"""

__all__ = ["bart", "described", "encoder_decoders", "families", "family", "gpt2", "llama", "pegasus", "t5"]
