"""Fields of a batch -> tokens: one embedder for every kind of input.

An embedder's `forward` takes the fields of a batch and returns `model.tokens.Tokens`: vectors of the model's width,
and where they stand. Positions are not added here: the transformer does that, the same way for all.

    model.embedders.learned   learned vectors at fixed places
    model.embedders.options   options of all of them, free of torch
    model.embedders.patches   images and videos
    model.embedders.text      token ids
    model.embedders.vectors   vectors as they are
    model.embedders.waveform      samples of audio
    model.embedders.spectrogram   log mel energies
"""

__all__ = ["learned", "options", "patches", "spectrogram", "text", "vectors", "waveform"]
