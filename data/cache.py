"""`ShardCache`: whole shards, copied to a folder on a local disk when they are first touched.

For shards behind a slow file system or a network, together with `shuffle: window` of `data.order`,
which stays in few shards for long: a full shuffle over more shards than fit copies without end.

Any number of processes of one machine may use one folder, and any of them may be killed at any point:

    SHA256.tar       a whole shard. Named by its content, renamed to this only when size and hash are
                     those of the index; unlinked when room is needed, the least recently used first.
                     A process that reads one keeps the open file, which outlives the name.
    SHA256.partial   a shard being copied, by whoever holds the lock (flock) on it. The lock ends with
                     the process, so one without a lock is a leftover; room is counted as if it were whole.
    .lock            held while room is made and while a copy gets its final name.

Other files in the folder are left alone. The folder may hold more than its limit by the shards being
copied at the moment, and by evicted ones that are still open; those are closed at the next miss.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from weakref import WeakSet

from pydantic import Field

from configs.errors import DataError
from configs.options import Options
from data.storage import DirectStorage, LocalFile, ShardFile, Storage, open_file

_OURS = re.compile(r"[0-9a-f]{64}\.(tar|partial)")
_PIECE_BYTES = 2**23
_PIECES_TOGETHER = 4
_SECONDS_BETWEEN_MARKS = 30.0


class CacheOptions(Options):
    """Copies of shards on a local disk."""

    folder: str = Field(min_length=1)
    "Where they lie: a disk of this machine. All processes of the machine share it."
    size_gb: float = Field(gt=0)
    "How much they may take, in 10^9 bytes; the least recently used are deleted."


def storage_of(cache: CacheOptions | None) -> Storage:
    """What reads shards: through a cache, or where they lie."""
    return ShardCache(cache) if cache is not None else DirectStorage()


class ShardCache:
    """A `Storage` that reads copies."""

    def __init__(self, options: CacheOptions) -> None:
        self._options = options
        self._folder = Path(options.folder)
        self._limit = int(options.size_gb * 1e9)
        self._files: WeakSet[CachedFile] = WeakSet()

    def open(self, name: str, size: int, sha256: str) -> ShardFile:
        """The shard, copied at its first read.

        Raises:
            DataError: when it does not fit.
        """
        if size > self._limit:
            raise DataError(
                f"{name}: {size / 1e9:.3g} GB do not fit into data.cache.size_gb={self._options.size_gb:g}; raise it, "
                "or leave data.cache out."
            )
        file = CachedFile(self, name, size, sha256)
        self._files.add(file)
        return file

    def descriptor(self, name: str, size: int, sha256: str) -> int:
        """A file descriptor of the copy, made where there is none.

        Raises:
            DataError: when the folder cannot be written, or the shard is not what its index says.
            SampleError: when the shard cannot be read.
        """
        whole, partial = (self._folder / f"{sha256}.{kind}" for kind in ("tar", "partial"))
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            while True:
                found = _open_whole(whole, size)
                if found is None:
                    with _claimed(partial) as file:
                        # Another process may have finished it while this one waited for the lock.
                        if file is not None and not whole.exists():
                            return self._fill(file, partial, whole, name, size, sha256)
                    continue
                return found
        except OSError as error:
            raise DataError(
                f"{self._folder}: {name} cannot be cached: {error}. Free some space, choose another data.cache.folder, "
                "or lower data.cache.size_gb."
            ) from error

    def _fill(self, file: int, partial: Path, whole: Path, name: str, size: int, sha256: str) -> int:
        os.ftruncate(file, 0)
        os.ftruncate(file, size)
        self._make_room()
        digest, written = hashlib.sha256(), 0
        for piece in _pieces(name, size):
            digest.update(piece)
            written += os.pwrite(file, piece, written)
        if digest.hexdigest() != sha256 or written != size:
            raise DataError(
                f"{name}: sha256 is {digest.hexdigest()}, its index says {sha256}: the shard was changed or damaged "
                "after it was indexed. Restore it, or pack it again."
            )
        os.fsync(file)
        # Not while another process counts: it would see neither name.
        with self._locked():
            os.rename(partial, whole)
        return os.dup(file)

    def _make_room(self) -> None:
        """Delete leftovers, then the least recently used shards until the rest fits."""
        for file in list(self._files):
            file.close_if_evicted()
        with self._locked():
            found = _statuses(self._folder)
            for path in [path for path in found if path.suffix == ".partial" and _remove_leftover(path)]:
                del found[path]
            total = sum(status.st_size for status in found.values())
            for path in sorted((p for p in found if p.suffix == ".tar"), key=lambda p: found[p].st_mtime_ns):
                if total <= self._limit:
                    break
                path.unlink(missing_ok=True)
                total -= found[path].st_size

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with open(self._folder / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def __reduce__(self) -> tuple[type[ShardCache], tuple[CacheOptions]]:
        # What is open stays with this process.
        return ShardCache, (self._options,)


class CachedFile(LocalFile):
    """A shard, read from its copy."""

    def __init__(self, cache: ShardCache, name: str, size: int, sha256: str) -> None:
        super().__init__(name)
        self._cache = cache
        self._size = size
        self._sha256 = sha256
        self._next_mark = 0.0

    def size(self) -> int:
        """Bytes in all, as the index says."""
        return self._size

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes from `offset`; copies the shard first where need be."""
        content = super().read(offset, size)
        now = time.monotonic()
        if now >= self._next_mark:
            self._next_mark = now + _SECONDS_BETWEEN_MARKS
            self._mark_as_used()
        return content

    def close_if_evicted(self) -> None:
        """Let the disk have the space of a copy that was deleted."""
        file = self._file
        if file is not None and os.fstat(file.number).st_nlink == 0:
            self.close()

    def _open(self) -> int:
        self._next_mark = 0.0
        return self._cache.descriptor(self.name, self._size, self._sha256)

    def _mark_as_used(self) -> None:
        file = self._file
        if file is not None:
            # Another user's file may be read but not marked.
            with contextlib.suppress(PermissionError):
                os.utime(file.number)


def _statuses(folder: Path) -> dict[Path, os.stat_result]:
    """Our files in the folder, but for those that go while this looks: a process gives up its copy at any time."""
    found = {}
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name):
            with contextlib.suppress(FileNotFoundError):
                found[path] = path.stat()
    return found


def _open_whole(path: Path, size: int) -> int | None:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    if os.fstat(file).st_size == size:
        return file
    # Nobody of us shortens one: a disk or a person did.
    os.close(file)
    path.unlink(missing_ok=True)
    return None


@contextlib.contextmanager
def _claimed(path: Path) -> Iterator[int | None]:
    """The file at `path`, locked; None where it was finished or removed while waiting. Removes what is left."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        is_ours = _is_at(file, path)
        try:
            yield file if is_ours else None
        finally:
            if is_ours and _is_at(file, path):
                path.unlink(missing_ok=True)
            # The reader's duplicate of it shares the lock.
            fcntl.flock(file, fcntl.LOCK_UN)
    finally:
        os.close(file)


def _is_at(file: int, path: Path) -> bool:
    """Whether `path` is still the name of this open file."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _remove_leftover(path: Path) -> bool:
    """Remove a partial copy that nobody is writing."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(file, path):
            path.unlink(missing_ok=True)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(file)


def _pieces(name: str, size: int) -> Iterator[bytes]:
    """The content of the original, several pieces requested at a time."""
    ranges = [(offset, min(_PIECE_BYTES, size - offset)) for offset in range(0, size, _PIECE_BYTES)]
    original = open_file(name)
    for first in range(0, len(ranges), _PIECES_TOGETHER):
        yield from original.read_many(ranges[first : first + _PIECES_TOGETHER])
    original.close()
