"""Files and folders that are either as they were or whole, even when the process or the machine dies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from configs.errors import ConfigError


def replace_file(path: Path, content: str | bytes) -> None:
    """Write `content` beside `path` (as PATH.partial), bring it to disk, and give it the name `path`.

    Raises:
        OSError: when it cannot be written; `path` is then as it was.
    """
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("wb") as stream:
        stream.write(content.encode() if isinstance(content, str) else content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to write into (PATH.partial), which gets the name `path` when all went well, and else is removed.

    Raises:
        ConfigError: when `path` exists, or cannot be written.
    """
    if path.exists():
        raise ConfigError(f"{path}: exists. Choose a folder that does not, or remove it.")
    partial = path.with_name(path.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    try:
        partial.mkdir(parents=True)
        yield partial
        os.rename(partial, path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
