"""The command line as such: what any subcommand does when it cannot end as it should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from launch import cli
from tests.conftest import ROOT


def test_a_full_disk_behind_the_output_is_said_in_a_line(corpus: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "launch.cli", "data", "show", str(corpus)],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("polytrain: error: ")
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


def test_ctrl_c_while_a_subcommand_is_imported_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_name: str) -> None:
        raise KeyboardInterrupt

    codes: list[int] = []
    monkeypatch.setattr(sys, "argv", ["polytrain", "plan", "configs/quickstart.yaml"])
    monkeypatch.setattr(cli.command, "leave", codes.append)
    monkeypatch.setattr(cli.importlib, "import_module", interrupt)
    cli.entry()
    assert codes == [130]
    assert capsys.readouterr().err.startswith("polytrain: interrupted")
