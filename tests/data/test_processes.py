"""What helping processes say and do when the process they work for ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# The parent hands over a connection and is killed, or lives on; the child meets the end of the connection.
_PARENT = """
import multiprocessing, os, signal, sys
from data import processes

def child(receiver, sender, quiet):
    sender.close()
    processes._SECONDS_TO_END = 1.0
    if quiet:
        processes.lose_parent_quietly()
    try:
        receiver.recv()
    except EOFError:
        sys.excepthook(*sys.exc_info())

receiver, sender = multiprocessing.get_context("fork").Pipe(duplex=False)
process = multiprocessing.get_context("fork").Process(target=child, args=(receiver, sender, sys.argv[1] == "quiet"))
process.start()
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
sender.close()
process.join()
"""


@pytest.mark.parametrize(
    ("hook", "parent", "is_reported"),
    [("none", "killed", True), ("quiet", "killed", False), ("quiet", "lives", True)],
)
def test_a_connection_lost_with_the_parent_is_not_reported(hook: str, parent: str, is_reported: bool) -> None:
    # The child holds the pipe of the output open: reading it ends when the child has.
    output = subprocess.run(
        [sys.executable, "-c", _PARENT, hook, parent],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    ).stdout
    assert ("EOFError" in output) == is_reported
