"""Fetches one archive from a registry, by the registry's own client, which knows mirrors, proxies and checksums.

apt          apt-get download
npm          npm pack, without install scripts
pip          pip download, wheels only
pip-source   pip download of a source archive: pip runs its setup.py to read what it is
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from configs.errors import DataError


class UnavailableError(DataError):
    """A package cannot be fetched from here: no network, no such client, no such package."""


def fetch_apt(package: str, folder: Path) -> Path:
    """The .deb of `package`; needs no root.

    Raises:
        UnavailableError: when it cannot be had.
    """
    advice = "Correct the name, or refresh the package lists as root: apt-get update"
    return _fetch(f"apt:{package}", ["apt-get", "download", "-qq", package], folder, advice)


def fetch_npm(package: str, folder: Path) -> Path:
    """The .tgz of NAME or NAME@VERSION.

    Raises:
        UnavailableError: when it cannot be had.
    """
    command = ["npm", "pack", "--ignore-scripts", "--loglevel=error", "--fetch-retries=1", package]
    return _fetch(f"npm:{package}", command, folder, "Correct the name, or look at the network.")


def fetch_pip(package: str, folder: Path) -> Path:
    """The wheel of NAME or NAME==VERSION. It is only unpacked.

    Raises:
        UnavailableError: when it cannot be had, or there is only a source archive.
    """
    advice = (
        "Correct the name, or look at the network. A package that has only a source archive is fetched as "
        f"pip-source:{package}: pip then runs its setup.py, so do that where you trust it."
    )
    return _fetch(f"pip:{package}", [*_PIP_DOWNLOAD, "--only-binary=:all:", package], folder, advice)


def fetch_pip_source(package: str, folder: Path) -> Path:
    """The source archive of NAME or NAME==VERSION. pip runs its setup.py.

    Raises:
        UnavailableError: when it cannot be had.
    """
    advice = "Correct the name, or look at the network."
    return _fetch(f"pip-source:{package}", [*_PIP_DOWNLOAD, "--no-binary=:all:", package], folder, advice)


_PIP_DOWNLOAD = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input", "--retries=1"]


def _fetch(what: str, command: list[str], folder: Path, advice: str) -> Path:
    """Run a client in the empty `folder`; the one file that it leaves there."""
    if shutil.which(command[0]) is None:
        raise UnavailableError(f"{what}: cannot be fetched: there is no '{command[0]}' on this machine.")
    # English messages, without colours.
    environment = os.environ | {"LC_ALL": "C", "NO_COLOR": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )
    archives = [path for path in folder.iterdir() if path.is_file()]
    if done.returncode or len(archives) != 1:
        shown = " ".join([Path(command[0]).name, *command[1:]])
        raise UnavailableError(
            f"{what}: cannot be fetched: '{shown}' said: {_reason(done.stderr + done.stdout)}. {advice}"
        )
    return archives[0]


def _reason(output: str) -> str:
    """The first lines that say what went wrong; clients add advice behind them."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(npm )?(E:|ERROR|error)", line)]
    return " ".join((errors or lines)[:2]).rstrip(".") or "nothing"
