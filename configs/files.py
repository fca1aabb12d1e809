"""Files that are either as they were or whole, even when the process or the machine dies."""

from __future__ import annotations

import os
from pathlib import Path


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
