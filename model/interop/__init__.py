"""Hugging Face formats: a family is a table of names and a mapping of the configuration, both ways.

Adding a family: a module with a `FAMILY`, and a line in `families.FAMILIES`.

    model.interop.described  the module with a model and its head
    model.interop.family     what a family is; translating weights by its table
    model.interop.families   the families by model_type
    model.interop.gpt2       learned positions, layer norm, GELU
    model.interop.hubert     wav2vec 2.0's encoder without its quantiser
    model.interop.llama      rotary positions, RMS norm, SwiGLU
    model.interop.wav2vec2   convolutions over waveforms, convolutional positions
    model.interop.whisper    spectrograms -> text: an encoder and a decoder
"""

__all__ = ["described", "families", "family", "gpt2", "hubert", "llama", "wav2vec2", "whisper"]
