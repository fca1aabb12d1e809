"""Whether a file is all there, where its decoder would not say.

libsndfile shortens a cut wav or ogg file without a word. A flac file fails in its decoder, and an mp3 file decodes
to fewer frames than its header counts; both need no look here. (An mp3 file without such a header has no length to
compare with: cut at the border of two of its frames, it is a shorter recording.)
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

_OPEN_ENDED = (0, 0xFFFFFFFF)  # written by programs that cannot seek back: the data goes on to the end
_LARGEST_OGG_PAGE = 27 + 255 + 255 * 255


def check_complete(stream: BinaryIO) -> None:
    """Look whether a wav or ogg file ends where it says it does.

    Raises:
        ValueError: when bytes are missing at its end.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    start = stream.read(12)
    if start[:4] == b"RIFF" and start[8:] == b"WAVE":
        _check_wav(stream, size)
    elif start[:4] == b"OggS":
        _check_ogg(stream, size)


def _check_wav(stream: BinaryIO, size: int) -> None:
    """Walk the chunks (name, size as uint32, content, padded to even) up to the samples."""
    position = 12
    while position + 8 <= size:
        stream.seek(position)
        name, length = struct.unpack("<4sI", stream.read(8))
        if name == b"data":
            missing = position + 8 + length - size
            if missing > 0 and length not in _OPEN_ENDED:
                raise ValueError(f"cut short: {missing} of {length} bytes of samples are missing")
            return
        position += 8 + length + length % 2


def _check_ogg(stream: BinaryIO, size: int) -> None:
    """The last page must be whole and marked as the end of the stream (RFC 3533, section 6)."""
    first = max(0, size - _LARGEST_OGG_PAGE)
    stream.seek(first)
    tail = stream.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    num_segments = page[26] if len(page) > 26 else 0
    is_whole = len(page) >= 27 + num_segments + sum(page[27 : 27 + num_segments])
    if not (page[:4] == b"OggS" and is_whole and page[5] & 4):
        raise ValueError("cut short: the ogg stream has no last page")
