"""A local HTTP server with byte ranges and a delay before every answer: an object store to measure against.

    python -m benchmarks.loading.server FOLDER --latency-ms 20

Prints its port and serves until it is ended. `/-/counts` answers with the requests and bytes so far. The delay is
that of the answer's first byte; the bandwidth is that of the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Server(ThreadingHTTPServer):
    """Serves the files of a folder."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path, latency_s: float) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder.resolve()
        self.latency_s = latency_s
        self.num_requests = 0
        self.num_bytes = 0
        self.lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up (`curl` does, when its reader stops)."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"  # keeps connections open
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path == "/-/counts":
            text = json.dumps({"requests": self.server.num_requests, "bytes": self.server.num_bytes}).encode()
            self._head(HTTPStatus.OK, len(text))
            self.wfile.write(text)
            return
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Say nothing."""

    def _answer(self, *, with_body: bool) -> None:
        time.sleep(self.server.latency_s)
        path = (self.server.folder / self.path.lstrip("/")).resolve()
        if not path.is_relative_to(self.server.folder) or not path.is_file():
            self._head(HTTPStatus.NOT_FOUND, 0)
            return
        size = path.stat().st_size
        first, last = self._range(size)
        if first > last:
            self._head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, {"Content-Range": f"bytes */{size}"})
            return
        is_part = "Range" in self.headers
        more = {"Content-Range": f"bytes {first}-{last}/{size}"} if is_part else {}
        self._head(HTTPStatus.PARTIAL_CONTENT if is_part else HTTPStatus.OK, last + 1 - first, more)
        with self.server.lock:
            self.server.num_requests += 1
            self.server.num_bytes += last + 1 - first if with_body else 0
        # Who asked may hang up early.
        with contextlib.suppress(ConnectionError), path.open("rb") as stream:
            if with_body:
                self.connection.sendfile(stream, first, last + 1 - first)

    def _range(self, size: int) -> tuple[int, int]:
        """First and last byte asked for."""
        found = _RANGE.fullmatch(self.headers.get("Range", "bytes=0-"))
        if not found:
            return 0, size - 1
        if not found[1]:
            return max(0, size - int(found[2] or 0)), size - 1
        return int(found[1]), min(size - 1, int(found[2] or size - 1))

    def _head(self, status: HTTPStatus, length: int, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        headers = {"Content-Length": str(length), "Accept-Ranges": "bytes", "ETag": '"1"'}
        for name, value in (headers | (more or {})).items():
            self.send_header(name, value)
        self.end_headers()


@contextlib.contextmanager
def serving(folder: Path, latency_s: float) -> Iterator[str]:
    """A server in a process of its own; gives its address."""
    command = [sys.executable, "-m", __name__, str(folder.resolve()), "--latency-ms", str(latency_s * 1e3)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def counts(address: str) -> dict[str, Any]:
    """`requests` and `bytes` so far."""
    with urllib.request.urlopen(f"{address}/-/counts") as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--latency-ms", type=float, default=20.0)
    options = parser.parse_args()
    server = Server(options.folder, options.latency_ms / 1e3)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
