"""The Python standard library: the source of every module, and its docstrings."""

from __future__ import annotations

import ast
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

from data.packing.text.readers.entry import Entry

# Not the library itself: tests, vendored wheels, and what pip installed beside it.
_NOT_STDLIB = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__", "ensurepip", "lib2to3"}
)


def standard_library() -> Iterator[Entry]:
    """Every module, and its docstrings in the same group."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if _NOT_STDLIB.intersection(Path(name).parts):
            continue
        # A few files are deliberately not UTF-8; they test the tokenizer of Python itself.
        text = path.read_text(encoding="utf-8", errors="replace")
        yield Entry(text, name, group=name)
        yield Entry(_docstrings(text), f"{name}:docstrings", group=name)


def _docstrings(source: str) -> str:
    """The docstrings of a module, its classes and functions, in source order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            module = ast.parse(source)
        except (SyntaxError, ValueError):
            return ""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [ast.get_docstring(node) for node in ast.walk(module) if isinstance(node, kinds)]
    return "\n\n".join(text for text in found if text)
