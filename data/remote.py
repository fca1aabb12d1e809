"""Positioned reads of remote files, through fsspec: http, s3, gs, ...

What comes back is either exactly the range that was asked for or an error: lengths are compared, and
web servers must answer with the range that was asked for (status 206 and its Content-Range). What may
pass (5xx, a lost connection, a body cut short) is tried again, each time after a longer wait.

Credentials and endpoints are those of the fsspec package (environment variables, and
~/.config/fsspec/*.json); a recipe holds none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from configs.errors import DataError
from data.sample import SampleError
from data.storage import NoSuchFile, Range

T = TypeVar("T")


@dataclass(frozen=True)
class Retry:
    """How often something is tried, and the waits between."""

    attempts: int = 4
    "Tries in all."
    first_wait_s: float = 0.25
    "Seconds before the second try; each later wait is four times as long."


class RemoteFile:
    """A `ShardFile` behind a URL. Holds no connection of its own: fsspec keeps one pool per process and thread."""

    def __init__(self, url: str, retry: Retry | None = None) -> None:
        self.name = url
        self._retry = retry or Retry()
        file_system(url)  # a missing package is reported at once

    def size(self) -> int:
        """Bytes in all."""
        size = self._try("its size", lambda: self._call("size"))
        if not isinstance(size, int):
            raise SampleError(f"{self.name}: the server does not tell its size; serve it where Range requests work.")
        return size

    def read_all(self) -> bytes:
        """The whole file."""
        content: bytes = self._try("all of it", lambda: self._call("cat_file"))
        return content

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes from `offset`."""
        if not size:
            return b""

        def once() -> bytes:
            content: bytes = self._call("cat_file", start=offset, end=offset + size)
            if len(content) != size:
                raise OSError(f"{len(content)} bytes came back")
            return content

        return self._try(f"{size} bytes at {offset}", once)

    def read_many(self, ranges: Sequence[Range]) -> list[bytes]:
        """Several ranges, all requested at the same time."""
        return read_together([(self, offset, size) for offset, size in ranges])

    def close(self) -> None:
        """Nothing to give back."""

    def _call(self, method: str, **kwargs: object) -> Any:
        # Asked for at every call: fsspec keeps it, and makes a new one after a fork.
        system, path = file_system(self.name)
        return getattr(system, method)(path, **kwargs)

    def _try(self, what: str, action: Callable[[], T]) -> T:
        wait, attempt = self._retry.first_wait_s, 1
        while True:
            try:
                return action()
            except Exception as error:  # file systems raise whatever their network libraries do
                if isinstance(error, DataError):
                    raise
                if _is_missing(error):
                    raise NoSuchFile(f"{self.name}: no such file.") from None
                if attempt >= self._retry.attempts or _is_final(error):
                    tried = "1 attempt" if attempt == 1 else f"{attempt} attempts"
                    raise SampleError(f"{self.name}: cannot read {what} ({tried}): {_say(error)}") from error
            time.sleep(wait)
            wait, attempt = wait * 4, attempt + 1


def read_together(requests: Sequence[tuple[RemoteFile, int, int]]) -> list[bytes]:
    """(file, offset, size) for each of several ranges -> their bytes, requested at the same time.

    What fails is then read again by itself, with all its retries.
    """
    found: dict[int, object] = {}
    systems: dict[int, tuple[Any, list[tuple[int, str, int, int]]]] = {}
    for number, (file, offset, size) in enumerate(requests):
        system, path = file_system(file.name)
        systems.setdefault(id(system), (system, []))[1].append((number, path, offset, offset + size))
    for system, asked in systems.values():
        numbers, paths, starts, ends = zip(*asked, strict=True)
        contents = system.cat_ranges(list(paths), list(starts), list(ends), on_error="return")
        found |= dict(zip(numbers, contents, strict=True))
    return [_whole(found[number], *request) for number, request in enumerate(requests)]


def _whole(content: object, file: RemoteFile, offset: int, size: int) -> bytes:
    return content if isinstance(content, bytes) and len(content) == size else file.read(offset, size)


def file_system(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it.

    Raises:
        DataError: when its package is not installed, or there is no such kind of URL.
    """
    from fsspec.core import url_to_fs

    try:
        options = _http_options() if url.startswith(("http://", "https://")) else {}
        system, path = url_to_fs(url, **options)
    except ImportError as error:
        raise DataError(f"{url}: a package is missing: {error}. For http: pip install 'polytrain[remote]'.") from None
    except OSError as error:
        raise DataError(f"{url}: cannot be reached: {error}") from None
    except ValueError as error:
        raise DataError(f"{url}: {error}. Expected a path or a URL such as https://... or s3://...") from None
    return system, str(path)


def _http_options() -> dict[str, object]:
    """What web sessions are made with: what fsspec's own configuration says, and our checks."""
    import aiohttp
    from fsspec.config import conf

    theirs = conf.get("http", {}).get("client_kwargs", {})
    ours = {
        # No limit for a whole body, but for silence.
        "timeout": aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60),
        **theirs,
        # A range of a compressed body is no range of the file.
        "headers": {**theirs.get("headers", {}), "Accept-Encoding": "identity"},
        "raise_for_status": _require_range,
    }
    return {"client_kwargs": ours}


class _RangeIgnoredError(Exception):
    """The server sends something else than the range it was asked for, and will do so again."""


async def _require_range(response: Any) -> None:
    """Check that what comes is the range that was asked for; aiohttp calls this for each response."""
    asked = response.request_info.headers.get("Range")
    if asked is None or response.status >= 400:
        return
    first, last = (int(number) for number in asked.removeprefix("bytes=").split("-"))
    if response.status == 206:
        found = response.headers.get("Content-Range", "nothing")
        if not found.startswith(f"bytes {first}-{last}/"):
            raise OSError(f"the server was asked for bytes {first}-{last} and sent {found}")
    elif first or response.content_length != last + 1:
        raise _RangeIgnoredError(
            f"the server ignores Range requests (status {response.status} for bytes {first}-{last}); "
            "serve the shards where they work, or download them"
        )


def _cause(error: BaseException) -> BaseException:
    """What happened: over http, fsspec says "not found" for anything that goes wrong when it asks for a size."""
    cause = error.__cause__
    is_of_network = isinstance(cause, OSError) or type(cause).__module__.partition(".")[0] == "aiohttp"
    return cause if cause is not None and is_of_network else error


def _is_missing(error: BaseException) -> bool:
    cause = _cause(error)
    status = getattr(cause, "status", None)
    return status in (404, 410) or (status is None and isinstance(cause, FileNotFoundError))


def _is_final(error: BaseException) -> bool:
    cause = _cause(error)
    status = getattr(cause, "status", None)
    if isinstance(status, int) and 400 <= status < 500:
        return status not in (408, 425, 429)
    return isinstance(cause, PermissionError | NotImplementedError | _RangeIgnoredError)


def _say(error: BaseException) -> str:
    cause = _cause(error)
    return f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
