"""What is learned. An objective is one `nn.Module` that owns the model: Batch -> sums.

train.objectives.options     options of every objective, free of torch
train.objectives.objective   the interface
train.objectives.of_recipe   the objective of a recipe, in its arithmetic
train.objectives.causal_lm   predict the next token
train.objectives.masked_autoencoder   predict the pixels of masked patches
train.objectives.wav2vec2    tell masked frames of audio from distractors
train.objectives.pfn         predict the classes of a table's queried rows
"""

__all__ = ["causal_lm", "masked_autoencoder", "objective", "of_recipe", "options", "pfn", "wav2vec2"]
