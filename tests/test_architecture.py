"""The rooms of the house: what may import what, and what must not be imported at all."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each room, and the rooms it may import.
MAY_IMPORT = {
    "configs": set(),
    "data": {"configs"},
    "model": {"configs"},
    "train": {"configs", "data", "model"},
    "launch": {"configs", "data", "model", "train"},
}


def _imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_import_only_what_lies_below_them(room: str) -> None:
    files = list((ROOT / room).rglob("*.py"))
    assert files
    for path in files:
        assert _imports_of(path) & MAY_IMPORT.keys() <= MAY_IMPORT[room] | {room}, path


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_every_file_says_what_it_is_for(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_the_table_of_contents_of_each_package_is_complete(room: str) -> None:
    for init in (ROOT / room).rglob("__init__.py"):
        here = {path.stem for path in init.parent.glob("*.py")} - {"__init__", "__main__"}
        here |= {path.parent.name for path in init.parent.glob("*/__init__.py")}
        listed = next(
            ast.literal_eval(node.value)
            for node in ast.parse(init.read_text()).body
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
        )
        assert set(listed) == here, init


def test_installed_packages_are_all_packages() -> None:
    inits = (path for room in MAY_IMPORT for path in (ROOT / room).rglob("__init__.py"))
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in inits}
    tree = ast.parse((ROOT / "setup.py").read_text())
    listed = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "PACKAGES"
    )
    assert set(listed) == found


@pytest.mark.parametrize(
    "statement",
    [
        "import launch.cli",
        "from train.recipe import load_recipe; load_recipe('configs/quickstart.yaml')",
    ],
)
def test_validation_does_not_import_torch(statement: str) -> None:
    code = f"{statement}; import sys; assert not {{'torch', 'deepspeed', 'accelerate'}} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_help_answers_within_a_second() -> None:
    took = []
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "launch.cli", "--help"], cwd=ROOT, capture_output=True, text=True)
        took.append(time.perf_counter() - started)
        assert "polytrain train" in done.stdout
    assert min(took) < 1.0
