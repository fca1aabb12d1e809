"""Audio: decoding, resampling, crops, spectrograms and masks.

data.audio.options    options of every audio transform
"""

__all__ = ["options"]
