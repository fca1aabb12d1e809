"""Indexed shards on local or shared disks: expand their names, read any byte range of any member."""

from __future__ import annotations

import os
from collections.abc import Sequence
from glob import glob
from pathlib import Path

from braceexpand import braceexpand

from configs.errors import DataError
from data.index import ShardIndex, open_index


def expand(patterns: Sequence[str]) -> list[Path]:
    """Shard paths for webdataset names: braces (`train-{000..007}.tar`), globs, plain paths.

    Raises:
        DataError: when a pattern matches nothing, or its braces do not match.
    """
    paths: list[Path] = []
    for pattern in patterns:
        try:
            names = list(braceexpand(pattern))
        except ValueError as error:
            raise DataError(f"{pattern}: not a pattern of shard names: {error}") from None
        for name in names:
            matches = sorted(glob(name)) if any(mark in name for mark in "*?[") else [name]
            if not matches or not all(os.path.isfile(match) for match in matches):
                raise DataError(
                    f"{name}: no such shard. Pack a corpus first (polytrain pack --help), "
                    "or correct the 'shards' key; names are relative to the folder you run in."
                )
            paths.extend(Path(match) for match in matches)
    return paths


class Shard:
    """One indexed tar, opened on first use (so it can be sent to a worker process)."""

    def __init__(self, path: Path) -> None:
        # First, because close() also runs when the index cannot be opened.
        self._file: int | None = None
        self._path = path
        self.index: ShardIndex = open_index(path)

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes of the tar from `offset`.

        Raises:
            DataError: when the file ends early or cannot be read.
        """
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            content = os.pread(self._file, size, offset)
        except OSError as error:
            raise DataError(f"{self._path}: cannot read {size} bytes at {offset}: {error}") from error
        if len(content) != size:
            raise DataError(
                f"{self._path}: ends early: {len(content)} of {size} bytes at {offset}. "
                "It was truncated while in use; restore it and start again."
            )
        return content

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __getstate__(self) -> dict[str, object]:
        return {"path": self._path}

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]

    def __del__(self) -> None:
        self.close()
