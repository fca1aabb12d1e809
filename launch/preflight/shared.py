"""Whether all nodes see one file system where the run folder is, and whether renaming does there what checkpoints need.

Node 0 writes a file under a temporary name, renames it, and later renames another over it; all others must read the
first and then the second content. Each of them renames a file of its own into place, and node 0 must see them all.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from configs.files import replace_file
from launch.preflight.exchange import Exchange
from launch.preflight.report import Result
from launch.preflight.space import anchor

# Network file systems may show a change late; the usual caches last 3 to 30 s, but not for a name never asked for.
_SECONDS_TO_APPEAR = 10.0
_SECONDS_BETWEEN_LOOKS = 0.05


def shared(exchange: Exchange, members: Sequence[int], run: Path, seconds: float) -> Result:
    """Write, rename and look, together with the other nodes."""
    if exchange.rank == 0:
        return _lead(exchange, members, run, seconds)
    return _follow(exchange, run, seconds)


def _lead(exchange: Exchange, members: Sequence[int], run: Path, seconds: float) -> Result:
    result = Result()
    top = anchor(run)
    # Other nodes look at the same place below or above their run folder, whatever of it exists there.
    levels = len(run.absolute().parts) - len(top.parts)
    folder = top / f".polytrain-preflight-{uuid.uuid4().hex}"
    try:
        folder.mkdir()
        replace_file(folder / "token", "first")
        exchange.put("written", {"levels": levels, "name": folder.name, "content": "first"})
        exchange.take_all("seen", members[1:], seconds / 3)
        replace_file(folder / "token", "second")
        exchange.put("replaced", {"content": "second"})
        exchange.take_all("answered", members[1:], seconds / 3)
        end = time.monotonic() + min(_SECONDS_TO_APPEAR, seconds / 6)
        unseen = [
            rank for rank in members[1:] if not _appears(folder / f"node-{rank}", str(rank), end - time.monotonic())
        ]
        result.figures["not seen"] = unseen
    except OSError as error:
        exchange.put("written", None)
        result.failures.append(f"{top} cannot be written: {error.strerror or error}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def _follow(exchange: Exchange, run: Path, seconds: float) -> Result:
    wait = min(_SECONDS_TO_APPEAR, seconds / 4)
    told = exchange.take("written", 0, seconds)
    if told is None:
        return Result(warnings=["was not looked at: node 0 could not write"])
    path = run.absolute()
    folder = (path, *path.parents)[told["levels"]] / told["name"]
    result = Result()
    try:
        started = time.monotonic()
        is_there = _appears(folder / "token", told["content"], wait)
        exchange.put("seen", True)  # or not: node 0 need not wait
        if not is_there:
            result.failures.append(
                f"{folder.parent} is not the folder that node 0 writes to: what is written there does not appear here "
                f"within {wait:.3g} s. A run folder must be on a file system that all nodes share"
            )
            return result
        result.figures["seconds to appear"] = round(time.monotonic() - started, 3)
        replaced = exchange.take("replaced", 0, seconds / 2)
        if replaced is None or not _appears(folder / "token", replaced["content"], wait):
            result.failures.append(f"{folder.parent}: a file that node 0 replaced still has its old content here")
        replace_file(folder / f"node-{exchange.rank}", str(exchange.rank))
    except OSError as error:
        result.failures.append(f"{folder.parent} cannot be written: {error.strerror or error}")
    finally:
        exchange.put("answered", True)
    return result


def _appears(path: Path, content: str, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while True:
        # Not there yet, or a handle that the server has forgotten.
        with suppress(OSError):
            os.scandir(path.parent).close()  # makes network file systems look again
            if path.read_text() == content:
                return True
        if time.monotonic() >= end:
            return False
        time.sleep(_SECONDS_BETWEEN_LOOKS)
