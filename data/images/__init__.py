"""Images: decoding, crops, flips, colour, views and masks.

data.images.options   options of every image transform
"""

__all__ = ["options"]
