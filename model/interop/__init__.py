"""Hugging Face formats: a family is a table of names and a mapping of the configuration, both ways.

Adding a family: a module with a `FAMILY`, and a line in `families.FAMILIES`.

    model.interop.described             the module with a model and its head
    model.interop.family                what a family is; translating weights by its table; what keeps a model from one
    model.interop.families              the families by model_type
    model.interop.gpt2                  learned positions, layer norm, GELU
    model.interop.llama                 rotary positions, RMS norm, SwiGLU
    model.interop.text_encoder          what BERT and its like have in common
    model.interop.bert                  norms after the additions; masked tokens, sentence pairs
    model.interop.roberta               BERT with unused rows of positions
    model.interop.xlm_roberta           the same under another name
    model.interop.xlm_roberta_xl        the same with norms before the branches
    model.interop.electra               BERT with a narrower embedding; replaced tokens
    model.interop.modernbert            rotary positions, GeGLU, windows in most layers
    model.interop.beit                  relative positions on the grid, layer scale
    model.interop.clip                  images and texts in one space
    model.interop.deit                  a second token in front
    model.interop.dinov2                layer scale, mask token
    model.interop.dinov2_with_registers tokens in front without positions
    model.interop.hubert                wav2vec 2.0's encoder without its quantiser
    model.interop.vision                what families of images have in common
    model.interop.vit                   patches, learned positions, a pooler
    model.interop.vit_mae               sinusoids on the grid, a decoder of pixels
    model.interop.wav2vec2              convolutions over waveforms, convolutional positions
    model.interop.hugging_face          reading config.json and safetensors
    model.interop.importing             a Hugging Face folder as ours; what of it found a place
    model.interop.model_folder          our folder: model.yaml and weights under our names
    model.interop.mistral               Llama with a sliding window
    model.interop.qwen3                 Llama with normed queries and keys
    model.interop.rotary_decoders       what the last three have in common
    model.interop.whisper               spectrograms -> text: an encoder and a decoder
    model.interop.encoder_decoders      what the following have in common
    model.interop.t5                    relative positions, RMS norm, no biases
    model.interop.bart                  learned positions, norms after the branches
    model.interop.pegasus               sinusoidal positions, norms before the branches
"""

__all__ = [
    "bart",
    "beit",
    "bert",
    "clip",
    "deit",
    "described",
    "dinov2",
    "dinov2_with_registers",
    "electra",
    "encoder_decoders",
    "families",
    "family",
    "gpt2",
    "hubert",
    "hugging_face",
    "importing",
    "llama",
    "mistral",
    "model_folder",
    "modernbert",
    "pegasus",
    "qwen3",
    "roberta",
    "rotary_decoders",
    "t5",
    "text_encoder",
    "vision",
    "vit",
    "vit_mae",
    "wav2vec2",
    "whisper",
    "xlm_roberta",
    "xlm_roberta_xl",
]
