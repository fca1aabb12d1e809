"""Audio: decoding, resampling, crops, spectrograms and masks.

data.audio.options        options of every audio transform
data.audio.decode         files, or ranges of them -> waveforms
data.audio.truncation     whether a file is all there
data.audio.describe       waveforms as text
data.audio.fields         the fields that transforms read, checked
data.audio.resample       another sample rate
data.audio.crops          crops to a fixed length, of waveforms and of files
data.audio.levels         gain, normalisation, noise
data.audio.mel            log mel spectrograms (Whisper, Kaldi, HTK, Slaney)
data.audio.masks          masked spans of frames, masked patches
data.audio.negatives      distractors of contrastive learning
data.audio.spec_augment   SpecAugment
"""

__all__ = [
    "crops",
    "decode",
    "describe",
    "fields",
    "levels",
    "masks",
    "mel",
    "negatives",
    "options",
    "resample",
    "spec_augment",
    "truncation",
]
