"""Files that may be compressed, by their last suffix: .gz .dz (dictzip) .bz2 .xz .zst, or not at all."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)
"What reading a damaged file of any kind raises."


def open_bytes(path: Path) -> IO[bytes]:
    """The decompressed bytes of a file, as a stream."""
    return _OPENERS.get(path.suffix.lower(), _open_plain)(path)


def open_text(path: Path, *, errors: str = "strict", newline: str | None = None) -> io.TextIOWrapper:
    """The decompressed text of a file (UTF-8, a byte-order mark left out)."""
    return io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", errors=errors, newline=newline)


def inner_suffix(path: Path) -> str:
    """The suffix without that of the compression, in lower case: ".txt" of notes.TXT.gz."""
    name = Path(path.stem) if path.suffix.lower() in _OPENERS else path
    return name.suffix.lower()


class _ZstdFile(io.RawIOBase):
    """Frames of Zstandard, one after the other. The library's own reader takes a file cut short for its end."""

    def __init__(self, path: Path) -> None:
        import zstandard

        self._error = zstandard.ZstdError
        self._new_frame: Callable[[], Any] = zstandard.ZstdDecompressor().decompressobj
        self._file = path.open("rb")
        self._frame: Any = self._new_frame()
        self._compressed = b""
        self._content = b""
        self._is_between_frames = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        while not self._content:
            self._compressed = self._compressed or self._file.read(1 << 16)
            if not self._compressed:
                if self._is_between_frames:
                    return 0
                raise EOFError("the file ends within a Zstandard frame")
            self._decompress()
        taken, self._content = self._content[: len(view)], self._content[len(view) :]
        view[: len(taken)] = taken
        return len(taken)

    def _decompress(self) -> None:
        try:
            self._content = self._frame.decompress(self._compressed)
        except self._error as error:
            raise OSError(str(error)) from None
        self._compressed = self._frame.unused_data
        self._is_between_frames = self._frame.eof
        if self._frame.eof:
            self._frame = self._new_frame()

    def close(self) -> None:
        self._file.close()
        super().close()


def _open_plain(path: Path) -> IO[bytes]:
    return path.open("rb")


def _open_gzip(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb"))


def _open_bz2(path: Path) -> IO[bytes]:
    return bz2.open(path, "rb")


def _open_xz(path: Path) -> IO[bytes]:
    return lzma.open(path, "rb")


def _open_zstd(path: Path) -> IO[bytes]:
    return io.BufferedReader(_ZstdFile(path), 1 << 16)


_OPENERS: Mapping[str, Callable[[Path], IO[bytes]]] = {
    ".gz": _open_gzip,
    ".dz": _open_gzip,
    ".bz2": _open_bz2,
    ".xz": _open_xz,
    ".zst": _open_zstd,
}
