"""Indexed shards, local or remote: expand their names, read any byte range of any member."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path

from braceexpand import braceexpand

from configs.errors import DataError
from data.index import ShardIndex, open_index
from data.remote import RemoteFile, file_system
from data.remote import read_together as read_remote
from data.storage import DirectStorage, Range, ShardFile, Storage, is_url

_COMPRESSED = (".tgz", ".gz", ".zst", ".bz2", ".xz", ".lz4")
_OPENED_TOGETHER = 16


def expand(patterns: Sequence[str]) -> list[str]:
    """Shard names for webdataset names: paths or URLs with braces (`train-{000..007}.tar`) and globs.

    Globs work where files can be listed: on disks and in object stores, not on web servers.
    Remote names are not looked up here; `Shard` says when there is nothing.

    Raises:
        DataError: when a pattern matches nothing, its braces do not match, or it names a stream.
    """
    names: list[str] = []
    for pattern in patterns:
        _require_file(pattern)
        if os.path.isfile(pattern):  # whatever braces and brackets are in its name
            names.append(pattern)
            continue
        try:
            expanded = [name.removeprefix("file://") for name in braceexpand(pattern)]
        except ValueError as error:
            raise DataError(f"{pattern}: not a pattern of shard names: {error}") from None
        for name in expanded:
            names.extend(_remote_names(name) if is_url(name) else _local_names(name))
    return names


class Shard:
    """One indexed tar, opened on first use (so it can be sent to a worker process)."""

    def __init__(self, name: Path | str, storage: Storage | None = None) -> None:
        self._start(open_index(name), storage or DirectStorage())

    def _start(self, index: ShardIndex, storage: Storage) -> None:
        self.index: ShardIndex = index
        self._storage = storage
        self._file: ShardFile = storage.open(index.shard_path, index.shard_size, index.shard_sha256)

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes of the tar from `offset`.

        Raises:
            SampleError: when the file ends early or cannot be read.
        """
        return self._file.read(offset, size)

    def read_many(self, ranges: Sequence[Range]) -> list[bytes]:
        """The bytes of several (offset, size), in their order; of remote shards, requested at the same time.

        Raises:
            SampleError: when the file ends early or cannot be read.
        """
        return self._file.read_many(ranges)

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        self._file.close()

    def __getstate__(self) -> dict[str, object]:
        # A local index is mapped again; a remote one would be fetched again by every worker process.
        name = self.index.shard_path
        return {"name": name, "storage": self._storage, "index": self.index if is_url(name) else None}

    def __setstate__(self, state: dict[str, object]) -> None:
        index, storage = state["index"], state["storage"]
        self._start(index or open_index(str(state["name"])), storage)  # type: ignore[arg-type]


def open_shards(patterns: Sequence[str], storage: Storage | None = None) -> list[Shard]:
    """The shards that `patterns` name, in the order of `expand`; several remote indexes are fetched at a time.

    Raises:
        DataError: when one is missing or damaged.
    """
    names = expand(patterns)
    if not any(map(is_url, names)):
        return [Shard(name, storage) for name in names]
    with ThreadPoolExecutor(_OPENED_TOGETHER) as pool:
        return list(pool.map(lambda name: Shard(name, storage), names))


def read_together(requests: Sequence[tuple[Shard, int, int]]) -> list[bytes]:
    """(shard, offset, size) for each of several ranges -> their bytes, in the same order.

    Ranges of remote shards are requested at the same time, whichever shards they are in.

    Raises:
        SampleError: when one cannot be read.
    """
    remote: dict[int, tuple[RemoteFile, int, int]] = {}
    found: dict[int, bytes] = {}
    for number, (shard, offset, size) in enumerate(requests):
        if isinstance(shard._file, RemoteFile):
            remote[number] = (shard._file, offset, size)
        else:
            found[number] = shard.read(offset, size)
    found |= dict(zip(remote, read_remote(list(remote.values())), strict=True))
    return [found[number] for number in range(len(requests))]


def _require_file(pattern: str) -> None:
    """Refuse what webdataset would read from its beginning only."""
    if pattern.startswith("pipe:"):
        raise DataError(
            f"{pattern}: the output of a shell command has no random access, and a recipe must not run commands. "
            "Download the shards, or name them by URL (https://, s3://, gs://), and index them: polytrain index"
        )
    if pattern.endswith(_COMPRESSED):
        raise DataError(
            f"{pattern}: a compressed shard has no random access. Decompress it, then index it: polytrain index"
        )


def _local_names(name: str) -> list[str]:
    matches = sorted(glob(name)) if any(mark in name for mark in "*?[") else [name]
    if not matches or not all(os.path.isfile(match) for match in matches):
        raise DataError(
            f"{name}: no such shard. Pack a corpus first (polytrain pack --help), "
            "or correct the 'shards' key; names are relative to the folder you run in."
        )
    return matches


def _remote_names(url: str) -> list[str]:
    # "?" is no glob here: it begins the query of a web address.
    if not any(mark in url for mark in "*["):
        return [url]
    if url.startswith(("http://", "https://")):
        raise DataError(f"{url}: a web server lists no files. Write braces instead of globs: train-{{000..007}}.tar")
    system, path = file_system(url)
    try:
        matches = sorted(system.glob(path))
    except Exception as error:  # file systems raise whatever their network libraries do
        raise DataError(f"{url}: cannot be listed: {error}") from error
    if not matches:
        raise DataError(f"{url}: matches no shard. Correct the 'shards' key.")
    return [str(system.unstrip_protocol(match)) for match in matches]
