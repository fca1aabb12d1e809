"""Hugging Face formats: a family is a table of names and a mapping of the configuration, both ways.

Adding a family: a module with a `FAMILY`, and a line in `families.FAMILIES`.

    model.interop.described       the module with a model and its head
    model.interop.family          what a family is; translating weights by its table; what keeps a model from one
    model.interop.families        the families by model_type
    model.interop.gpt2            learned positions, layer norm, GELU
    model.interop.llama           rotary positions, RMS norm, SwiGLU
    model.interop.text_encoder    what BERT and its like have in common
    model.interop.bert            norms after the additions; masked tokens, sentence pairs
    model.interop.roberta         BERT with unused rows of positions
    model.interop.xlm_roberta     the same under another name
    model.interop.xlm_roberta_xl  the same with norms before the branches
    model.interop.electra         BERT with a narrower embedding; replaced tokens
    model.interop.modernbert      rotary positions, GeGLU, windows in most layers
"""

__all__ = [
    "bert",
    "described",
    "electra",
    "families",
    "family",
    "gpt2",
    "llama",
    "modernbert",
    "roberta",
    "text_encoder",
    "xlm_roberta",
    "xlm_roberta_xl",
]
