"""Unpacks archives of strangers: nothing leaves the folder, nothing is executed."""

from __future__ import annotations

import lzma
import shutil
import subprocess
import tarfile
import zipfile
import zlib
from pathlib import Path

from configs.errors import DataError

# NotImplementedError and RuntimeError: zipfile's, at compression and encryption that it does not know.
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .deb, a wheel or zip, or a tar into `folder`.

    Raises:
        DataError: when it is damaged, or would write outside of `folder`.
    """
    try:
        if archive.suffix == ".deb":
            _unpack_deb(archive, folder)
        elif zipfile.is_zipfile(archive):
            _unpack_zip(archive, folder)
        else:
            with tarfile.open(archive) as tar:
                # Refuses absolute paths, "..", links that lead outside, and devices.
                tar.extractall(folder, filter="data")
    except _DAMAGE as error:
        raise DataError(f"{archive.name}: cannot be unpacked: {error}") from None


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        for name in content.namelist():
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise DataError(f"{archive.name}: holds the path '{name}', which leads out of the archive.")
        content.extractall(folder)


def _unpack_deb(archive: Path, folder: Path) -> None:
    """A .deb holds a tar, which is checked like any other."""
    tool = shutil.which("dpkg-deb")
    if tool is None:
        raise DataError(f"{archive.name}: dpkg-deb is needed to unpack Debian packages and is not installed.")
    content = archive.with_suffix(".tar")
    with content.open("wb") as file:
        done = subprocess.run([tool, "--fsys-tarfile", str(archive)], stdout=file, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise DataError(f"{archive.name}: cannot be unpacked: {done.stderr.decode(errors='replace').strip()}")
    with tarfile.open(content) as tar:
        tar.extractall(folder, filter=_without_links_outside)


def _without_links_outside(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
    """Packages link to files of other packages (/usr/share/...), which are not there: such links are left out."""
    try:
        return tarfile.data_filter(member, path)
    except (tarfile.AbsoluteLinkError, tarfile.LinkOutsideDestinationError):
        return None
