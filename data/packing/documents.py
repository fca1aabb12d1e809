"""Where text comes from. A corpus is an iterator of named documents in a fixed order.

stdlib             the Python standard library: the source of every module, and its docstrings
a folder           its text files, recursively (.txt .md .rst .py)
FILE.jsonl[.gz]    one JSON object per line; the text is its key "text"
a text file        one document
"""

from __future__ import annotations

import ast
import gzip
import json
import sysconfig
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from configs.errors import DataError

_TEXT_SUFFIXES = frozenset({".txt", ".md", ".rst", ".py"})
# Not the library itself: tests, vendored wheels, and what pip installed beside it.
_NOT_STDLIB = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__", "ensurepip", "lib2to3"}
)


@dataclass(frozen=True)
class Document:
    """One text. Documents of the same `group` never fall on both sides of a train/validation split."""

    name: str
    text: str
    group: str


def documents(corpus: str) -> Iterator[Document]:
    """The documents of `corpus` (see the module's list), in a fixed order; empty ones are left out.

    Raises:
        DataError: when the corpus does not exist or cannot be read.
    """
    for document in _all_documents(corpus):
        if document.text.strip():
            yield document


def _all_documents(corpus: str) -> Iterator[Document]:
    if corpus == "stdlib":
        return _standard_library()
    path = Path(corpus)
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise DataError(
            f"{corpus}: no such corpus. Expected 'stdlib', a folder of text files, a .jsonl[.gz] file or a text file."
        )
    if path.name.removesuffix(".gz").endswith(".jsonl"):
        return _json_lines(path)
    return iter([Document(path.name, _read_text(path), path.name)])


def _standard_library() -> Iterator[Document]:
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if _NOT_STDLIB.intersection(Path(name).parts):
            continue
        # A few files are deliberately not UTF-8; they test the tokenizer of Python itself.
        text = path.read_text(encoding="utf-8", errors="replace")
        yield Document(name, text, name)
        yield Document(f"{name}:docstrings", _docstrings(text), name)


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


def _folder(root: Path) -> Iterator[Document]:
    for path in sorted(root.rglob("*")):
        if path.suffix in _TEXT_SUFFIXES and path.is_file():
            name = path.relative_to(root).as_posix()
            yield Document(name, _read_text(path), name)


def _json_lines(path: Path) -> Iterator[Document]:
    open_bytes = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with open_bytes(path, "rb") as stream:
            for number, line in enumerate(stream, start=1):
                name = f"{path.name}:{number}"
                yield Document(name, _text_of(line, f"{path}, line {number}"), name)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read after line {number}: {error}") from None


def _text_of(line: bytes, where: str) -> str:
    try:
        text = json.loads(line)["text"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f'{where}: expected a JSON object with the key "text": {error!r}') from None
    if not isinstance(text, str):
        raise DataError(f'{where}: "text" is {type(text).__name__}, expected a string')
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON can write half a surrogate pair; no tokenizer takes it
        raise DataError(f'{where}: "text" is not valid Unicode: {error}') from None
    return text


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from None
