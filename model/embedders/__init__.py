"""Fields of a batch -> tokens: one embedder for every kind of input.

An embedder's `forward` takes the fields of a batch and returns `model.tokens.Tokens`: vectors of the model's width,
and where they stand. Positions are not added here: the transformer does that, the same way for all.

    model.embedders.options       options of all of them, free of torch
    model.embedders.text          token ids
    model.embedders.vectors       vectors as they are
    model.embedders.waveform      samples of audio
    model.embedders.spectrogram   log mel energies
"""

__all__ = ["options", "spectrogram", "text", "vectors", "waveform"]
