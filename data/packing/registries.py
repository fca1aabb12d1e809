"""Fetches one archive from a registry, checked against the hash that the registry states."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from tqdm import tqdm

from configs.errors import DataError

_PYPI = "https://pypi.org/simple"
_NPM = "https://registry.npmjs.org"
_SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"
_TIMEOUT_S = 60
_CHUNK = 1 << 20


class UnavailableError(DataError):
    """A package cannot be fetched from here: no network, no such tool, no such package."""


@dataclass(frozen=True)
class Fetched:
    """An archive that was fetched, and the version it is."""

    archive: Path
    version: str


def fetch_apt(package: str, folder: Path) -> Fetched:
    """The newest .deb of `package` that apt knows; needs no root.

    Raises:
        UnavailableError: when there is no apt, or no such package.
    """
    tool = shutil.which("apt-get")
    if tool is None:
        raise UnavailableError(f"apt:{package}: apt-get is not installed here (Debian and Ubuntu have it).")
    done = subprocess.run([tool, "download", package], cwd=folder, capture_output=True, text=True, check=False)
    archives = list(folder.glob("*.deb"))
    if done.returncode or len(archives) != 1:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no reason given"]
        raise UnavailableError(
            f"apt:{package}: 'apt-get download {package}' failed: {reason[0]}. "
            "Correct the name, or refresh the package lists as root: apt-get update"
        )
    return Fetched(archives[0], archives[0].stem.split("_")[1])


def fetch_pip(package: str, folder: Path) -> Fetched:
    """A wheel of NAME or NAME==VERSION (one for any platform where there is one), else its source archive.

    Source archives are only unpacked: their setup.py is not run.

    Raises:
        UnavailableError: when the index cannot be reached or has no such version.
        DataError: when the archive does not have the hash that the index states.
    """
    name, _, wanted = package.partition("==")
    index = _python_index()
    page = _json(f"{index}/{canonicalize_name(name)}/", f"pip:{package}", accept=_SIMPLE_JSON)
    version, file = _choose(page["files"], wanted, package)
    archive = folder / Path(file["filename"]).name
    url = urllib.parse.urljoin(f"{index}/{canonicalize_name(name)}/", file["url"])
    sha256 = file.get("hashes", {}).get("sha256")
    _download(url, archive, f"pip:{package}", hashlib.sha256() if sha256 else None, str(sha256))
    return Fetched(archive, version)


def fetch_npm(package: str, folder: Path) -> Fetched:
    """The archive of NAME or NAME@VERSION; its install scripts are not run.

    Raises:
        UnavailableError: when the registry cannot be reached or has no such version.
        DataError: when the archive does not have the hash that the registry states.
    """
    matched = re.fullmatch(r"(@?[^@]+)(?:@(.+))?", package)
    if matched is None:
        raise DataError(f"npm:{package}: expected NAME or NAME@VERSION.")
    name, wanted = matched[1], matched[2]
    registry = os.environ.get("NPM_CONFIG_REGISTRY", _NPM).rstrip("/")
    page = _json(f"{registry}/{urllib.parse.quote(name, safe='@')}", f"npm:{package}")
    version = wanted or page.get("dist-tags", {}).get("latest")
    if version not in page.get("versions", {}):
        raise UnavailableError(
            f"npm:{package}: no such version; newest: {', '.join(list(page.get('versions', {}))[-5:])}."
        )
    described = page["versions"][version]["dist"]
    algorithm, _, digest = described.get("integrity", "").partition("-")
    if algorithm not in ("sha256", "sha384", "sha512"):
        algorithm, expected = "sha1", described.get("shasum", "")
    else:
        expected = base64.b64decode(digest).hex()
    archive = folder / "package.tgz"
    _download(described["tarball"], archive, f"npm:{package}", hashlib.new(algorithm), expected)
    return Fetched(archive, version)


def _python_index() -> str:
    """The index that pip is configured to use."""
    index = os.environ.get("PIP_INDEX_URL")
    if not index:
        command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
        index = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return (index or _PYPI).rstrip("/")


def _choose(files: list[dict[str, Any]], wanted: str, package: str) -> tuple[str, dict[str, Any]]:
    """The newest version (or the one wanted), and its most portable archive."""
    by_version: dict[Version, list[dict[str, Any]]] = {}
    for file in files:
        version = _version_of(file["filename"])
        if version is not None and not file.get("yanked"):
            by_version.setdefault(version, []).append(file)
    if wanted:
        chosen = next((version for version in by_version if str(version) == str(_version(wanted))), None)
    else:
        finals = [version for version in by_version if not version.is_prerelease]
        chosen = max(finals or by_version, default=None)
    if chosen is None:
        known = ", ".join(str(version) for version in sorted(by_version)[-5:])
        raise UnavailableError(f"pip:{package}: no such version; newest: {known or 'none'}.")
    return str(chosen), min(by_version[chosen], key=lambda file: _rank(file["filename"]))


def _version_of(filename: str) -> Version | None:
    if filename.endswith(".whl"):
        return _version(filename.split("-")[1])
    matched = re.fullmatch(r".+-([^-]+?)(?:\.tar\.(?:gz|bz2|xz)|\.zip)", filename)
    return _version(matched[1]) if matched else None


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _rank(filename: str) -> tuple[int, str]:
    if filename.endswith("none-any.whl"):
        return 0, filename
    if filename.endswith(".whl"):
        return (1 if "manylinux" in filename and "x86_64" in filename else 3), filename
    return 2, filename


def _json(url: str, what: str, accept: str = "application/json") -> Any:
    request = urllib.request.Request(url, headers={"Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
            return json.load(response)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise UnavailableError(
            f"{what}: {url} cannot be read: {error}. Correct the name, or look at the network."
        ) from None


def _download(url: str, target: Path, what: str, digest: Any, expected: str) -> None:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response, target.open("wb") as file:
            total = int(response.headers.get("Content-Length") or 0) or None
            with tqdm(total=total, desc=f"fetching {what}", unit="B", unit_scale=True, disable=None) as bar:
                while chunk := response.read(_CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
                    if digest is not None:
                        digest.update(chunk)
    except (urllib.error.URLError, OSError) as error:
        raise UnavailableError(f"{what}: {url} cannot be fetched: {error}. Look at the network.") from None
    if digest is not None and digest.hexdigest() != expected:
        raise DataError(f"{what}: {url} has the hash {digest.hexdigest()}, the registry says {expected}. Try again.")
