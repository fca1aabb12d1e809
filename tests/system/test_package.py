"""What is installed from a wheel is whole: recipes and schema come along, tests do not."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.processes


def test_the_wheel_holds_every_module_recipe_and_nothing_else(tmp_path: Path) -> None:
    # From a copy: building leaves files beside setup.py.
    subprocess.run(["git", "clone", "-q", str(ROOT), str(tmp_path / "checkout")], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(tmp_path / "checkout")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode and "No matching distribution found for setuptools" in done.stderr:
        pytest.skip("no package index is reachable to build a wheel with")
    assert done.returncode == 0, done.stderr
    names = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    rooms = ("configs", "data", "model", "train", "launch")
    listed = subprocess.run(["git", "ls-files", *rooms], cwd=ROOT, capture_output=True, text=True, check=True)
    kinds = (".py", ".yaml", ".json", ".html", ".css", ".js", ".sh", ".sbatch", "py.typed")
    wanted = {name for name in listed.stdout.splitlines() if name.endswith(kinds)}
    assert {name for name in names if ".dist-info/" not in name} == wanted
