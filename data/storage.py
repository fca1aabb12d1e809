"""Where the bytes of a shard come from: names, positioned reads of local files, and who opens what.

A shard is named by a path or by a URL that `fsspec` knows (http, https, s3, gs, memory, ...);
`file://` URLs are paths. Whoever reads shards gets a `Storage` and asks it for the file:
`DirectStorage` reads where the shard lies, `data.cache.ShardCache` from a copy on a local disk.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

from configs.options import Part
from data.sample import SampleError

Range = tuple[int, int]
"Offset and size, in bytes."


class NoSuchFile(SampleError):
    """There is nothing under this name."""


class ShardFile(Protocol):
    """A file that is read at any place. Opened on first use."""

    def size(self) -> int:
        """Bytes in all.

        Raises:
            NoSuchFile: when there is none.
            SampleError: when it cannot be asked.
        """

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes from `offset`.

        Raises:
            SampleError: naming the file and the range, when it ends early or cannot be read.
        """

    def read_many(self, ranges: Sequence[Range]) -> list[bytes]:
        """Several ranges, in their order; at the same time where that is quicker."""

    def close(self) -> None:
        """Give back what is held; the next read opens it again."""


class Storage(Protocol):
    """Opens shards. Sent to worker processes with the sources that use it."""

    def open(self, name: str, size: int, sha256: str) -> ShardFile:
        """The shard `name`, of which the index says the size in bytes and the hash."""


class StoredPart(Part):
    """Options of a source that reads shards: its constructor takes them and, second, a `Storage`."""


class DirectStorage:
    """Reads shards where they lie."""

    def open(self, name: str, size: int, sha256: str) -> ShardFile:
        """The shard itself."""
        return open_file(name)


class _OpenFile:
    """A file descriptor, closed when nobody refers to it: no thread can close it below another one's read."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


class LocalFile:
    """A file on a disk: one `pread` per range, no position shared with other processes or threads."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._file: _OpenFile | None = None

    def size(self) -> int:
        """Bytes in all."""
        try:
            return os.stat(self.name).st_size
        except FileNotFoundError:
            raise NoSuchFile(f"{self.name}: no such file.") from None
        except OSError as error:
            raise SampleError(f"{self.name}: cannot be read: {error}") from error

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes from `offset`."""
        try:
            file = self._file
            if file is None:
                file = self._file = _OpenFile(self._open())
            content = os.pread(file.number, size, offset)
            while 0 < len(content) < size and (
                more := os.pread(file.number, size - len(content), offset + len(content))
            ):
                content += more  # the kernel gives at most 2 GiB at once
        except OSError as error:
            raise SampleError(f"{self.name}: cannot read {size} bytes at {offset}: {error}") from error
        if len(content) != size:
            raise SampleError(
                f"{self.name}: ends early: {len(content)} of {size} bytes at {offset}. "
                "It was truncated while in use; restore it and start again."
            )
        return content

    def read_many(self, ranges: Sequence[Range]) -> list[bytes]:
        """Several ranges, one after the other."""
        return [self.read(offset, size) for offset, size in ranges]

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        self._file = None

    def _open(self) -> int:
        return os.open(self.name, os.O_RDONLY | os.O_CLOEXEC)


def is_url(name: str) -> bool:
    """Whether a shard of this name is read through fsspec."""
    return "://" in name


def beside(name: str, suffix: str) -> str:
    """`name` + `suffix`; in a web address, before its query (`?...`)."""
    path, mark, query = name.partition("?") if name.startswith(("http://", "https://")) else (name, "", "")
    return f"{path}{suffix}{mark}{query}"


def open_file(name: str) -> ShardFile:
    """The file at a path or URL; nothing is opened yet.

    Raises:
        DataError: when a package for this kind of URL is not installed.
    """
    if not is_url(name):
        return LocalFile(name)
    from data.remote import RemoteFile

    return RemoteFile(name)
