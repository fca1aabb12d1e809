"""A tiny packed corpus, and helpers that read and write shards by plain webdataset."""

from __future__ import annotations

import gzip
import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset

from data.index import write_index
from data.packing.driver import pack
from data.packing.text_options import TextPackOptions

RawSamples = list[dict[str, bytes]]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that lives as long as the session; hypothesis examples may write into it."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def fresh(folder: Path) -> Callable[[str], Path]:
    """A path that was not used before, in a folder of its own (a mapped file must never be overwritten)."""
    numbers = itertools.count()

    def make(name: str) -> Path:
        parent = folder / f"{next(numbers):06d}"
        parent.mkdir()
        return parent / name

    return make


@pytest.fixture(scope="session")
def text_folder(folder: Path) -> Path:
    """40 small text files in nested folders, from one line to a few hundred."""
    root = folder / "text"
    for number in range(40):
        path = root / f"part-{number % 3}" / f"{number:02d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"document {number} says line {line}\n" for line in range(1 + number * number // 8)))
    return root


@pytest.fixture(scope="session")
def pack_options(text_folder: Path) -> TextPackOptions:
    """Small enough shards that the train split has several."""
    return TextPackOptions(corpus=str(text_folder), vocab_size=300, validation=0.2, shard_mb=0.02)


@pytest.fixture(scope="session")
def packed(pack_options: TextPackOptions, folder: Path) -> Path:
    """The packed corpus. Read only."""
    pack(pack_options, folder / "packed")
    return folder / "packed"


@pytest.fixture(scope="session")
def read_plainly() -> Callable[[Path], RawSamples]:
    """The samples of a shard as plain webdataset yields them, undecoded."""
    return lambda path: list(webdataset.WebDataset(str(path), shardshuffle=False))


@pytest.fixture(scope="session")
def token_shard(fresh: Callable[[str], Path]) -> Callable[..., Path]:
    """Writes and indexes a shard with one .npy member per array; None writes a sample without one."""

    def write(arrays: Sequence[np.ndarray | None], dtype: str = "uint16") -> Path:
        path = fresh("tokens.tar")
        with webdataset.TarWriter(str(path)) as writer:
            for number, array in enumerate(arrays):
                sample: dict[str, Any] = {"__key__": f"{number:04d}", "json": {"number": number}}
                writer.write(sample if array is None else sample | {"npy": np.asarray(array, dtype=dtype)})
        write_index(path)
        return path

    return write


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What `__del__` methods and threads failed with; Python would only print it."""
    found: list[str] = []
    monkeypatch.setattr("sys.unraisablehook", lambda event: found.append(repr(event.exc_value)))
    return found


class WebServer:
    """Files over HTTP with Range requests, as a good server serves them or with one fault.

    `faults` are taken one per GET request, the last one stays; `"none"` is no fault.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults = ["none"]
        self.latency_s = 0.0
        self.gets: list[str] = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        server = self

        class Handler(_RangeHandler):
            web = server

        self._http = _QuietServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/{name}"

    def next_fault(self) -> str:
        with self._lock:
            return self.faults.pop(0) if len(self.faults) > 1 else self.faults[0]

    def count(self, change: int) -> None:
        with self._lock:
            self.at_once += change
            self.most_at_once = max(self.most_at_once, self.at_once)

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class _QuietServer(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *args: object) -> None:
        """A connection that was reset, on purpose."""


class _RangeHandler(BaseHTTPRequestHandler):
    web: WebServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        path = self.web.folder / self.path.partition("?")[0].strip("/")
        self.send_response(200 if path.is_file() else 404)
        self.send_header("Content-Length", str(path.stat().st_size if path.is_file() else 0))
        self.end_headers()

    def do_GET(self) -> None:
        self.web.gets.append(f"{self.path} {self.headers.get('Range', 'all')}")
        self.web.count(+1)
        time.sleep(self.web.latency_s)
        try:
            self._answer(self.web.next_fault())
        finally:
            self.web.count(-1)

    def _answer(self, fault: str) -> None:
        path = self.web.folder / self.path.partition("?")[0].strip("/")
        if fault.isdecimal() or not path.is_file():
            self._send(int(fault) if fault.isdecimal() else 404, b"sorry")
        elif fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
        elif "Range" not in self.headers or fault == "ignores the range":
            self._send(200, path.read_bytes())
        else:
            self._send_range(path.read_bytes(), fault)

    def _send_range(self, content: bytes, fault: str) -> None:
        first, last = (int(number) for number in self.headers["Range"].removeprefix("bytes=").split("-"))
        if fault == "another range":
            first, last = first + 1, last + 1
        body = content[first : last + 1]
        headers = {"Content-Range": f"bytes {first}-{first + len(body) - 1}/{len(content)}"}
        if fault == "ignores the range and stops":
            self._send(200, content[: last + 1 - first], length=None)
        elif fault == "short":
            self._send(206, body[:-1], {"Content-Range": f"bytes {first}-{last}/{len(content)}"})
        elif fault == "cut":
            self._send(206, body[: len(body) // 2], headers, length=len(body))
        elif fault == "compressed":
            self._send(206, gzip.compress(body), headers | {"Content-Encoding": "gzip"})
        else:
            self._send(206, body, headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = -1) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(len(body) if length < 0 else length))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = length != -1


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    """A web server on this machine, for the files in a folder."""
    pytest.importorskip("aiohttp", reason="reading over http needs aiohttp: pip install 'polytrain[remote]'")
    folder = tmp_path / "web"
    folder.mkdir()
    server = WebServer(folder)
    yield server
    server.stop()


@pytest.fixture
def memory() -> Iterator[Callable[[str, bytes], str]]:
    """Puts content into fsspec's memory file system; returns its URL."""
    import fsspec

    system = fsspec.filesystem("memory")

    def put(name: str, content: bytes) -> str:
        system.pipe_file(f"/{name}", content)
        return f"memory://{name}"

    yield put
    system.store.clear()
