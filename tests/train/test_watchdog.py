from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from train.watchdog import EXIT_STALLED

_SCRIPT = """
import sys, time
from pathlib import Path
from train.watchdog import Watchdog

def stuck():
    time.sleep(20)

with Watchdog({limit}, Path({folder!r}), 1) as watchdog:
{body}
print("done")
"""


def run(tmp_path: Path, body: str, limit: float | None = 0.5) -> subprocess.CompletedProcess[str]:
    lines = "\n".join("    " + line for line in body.splitlines())
    script = _SCRIPT.format(limit=limit, folder=str(tmp_path / "stalls"), body=lines)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)


def test_a_step_that_does_not_end_leaves_its_stack_and_ends_the_process(tmp_path: Path) -> None:
    done = run(tmp_path, "watchdog.step(7)\nstuck()")
    assert done.returncode == EXIT_STALLED
    written = (tmp_path / "stalls" / "rank-00001.txt").read_text()
    for text in (done.stderr, written):
        assert "step 7 takes longer than train.stall_limit_s=0.5" in text
        assert "in stuck" in text


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        ("for step in range(8):\n    watchdog.step(step)\n    time.sleep(0.2)", 1.2),
        ("watchdog.step(1)\nwatchdog.rest()\ntime.sleep(1)", 0.5),
        ("watchdog.step(1)\ntime.sleep(1)", None),
    ],
    ids=["steps that end", "probes and checkpoints", "no limit"],
)
def test_it_lets_be(body: str, limit: float | None, tmp_path: Path) -> None:
    done = run(tmp_path, body, limit)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
    assert not (tmp_path / "stalls").exists()


def test_a_lock_that_is_never_given_back_ends_the_process_too(tmp_path: Path) -> None:
    # PyDLL holds the interpreter's lock through the call, so no Python thread runs any more.
    body = "import ctypes\nwatchdog.step(1)\ntime.sleep(0.2)\nctypes.PyDLL(None).sleep(30)"
    done = run(tmp_path, body)
    assert done.returncode == 1
    assert "Timeout" in done.stderr
