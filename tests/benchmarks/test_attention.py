from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_table_of_attention_has_a_row_for_every_contender() -> None:
    sizes = ["--tokens=256", "--window=8", "--rounds=1", "--contenders", "dense"]
    run = subprocess.run(
        [sys.executable, "benchmarks/attention.py", *sizes],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    header, line, gather, dense = run.stdout.splitlines()
    assert header.count("|") == line.count("|") == gather.count("|") == dense.count("|")
    assert gather.startswith("| window, gather | 0.")
    assert dense.startswith("| window, sdpa (dense mask) | 0.")
