from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from configs.errors import ConfigError, DataError
from configs.options import validate
from data.packing.text.documents import Document, documents
from data.packing.text.readers.options import DocumentOptions


def lines(*texts: str) -> bytes:
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        list(documents(str(path)))
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_folder_gives_its_text_files_in_a_fixed_order(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z.md", "a/b.rst", "c.py", "picture.png", "no_suffix"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"this is {name}")
    found = list(documents(str(tmp_path)))
    assert found == [Document(name, f"this is {name}", name) for name in ("a/b.rst", "a/z.md", "b.txt", "c.py")]


def test_a_text_file_is_one_document(tmp_path: Path) -> None:
    path = tmp_path / "notes.log"
    path.write_text("caf\u00e9\n", encoding="utf-8")
    assert list(documents(str(path))) == [Document("notes.log", "caf\u00e9\n", "notes.log")]


@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz"])
def test_json_lines_are_one_document_each(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    content = lines("one", "two\nlines", "\u2028 separates nothing")
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    found = list(documents(str(path)))
    assert [document.text for document in found] == ["one", "two\nlines", "\u2028 separates nothing"]
    assert [document.name for document in found] == [f"{name}:1", f"{name}:2", f"{name}:3"]


def test_empty_documents_are_left_out_and_keep_their_number(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(lines("one", " \n\t", "", "four"))
    assert [document.name for document in documents(str(path))] == ["corpus.jsonl:1", "corpus.jsonl:4"]


@pytest.mark.parametrize(
    "bad",
    [b"{not json", b"[1]", b'"text"', b"3", b"null", b"", b'{"words": "x"}', b'{"text": "\xff"}'],
)
def test_a_bad_json_line_is_named(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(lines("one", "two") + bad + b"\n" + lines("four"))
    assert f"{path}, line 3: " in refused(path)


@pytest.mark.parametrize(("value", "named"), [("5", "int"), ("null", "NoneType"), ('["a"]', "list")])
def test_a_text_of_another_type_is_named(tmp_path: Path, value: str, named: str) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text(f'{{"text": {value}}}\n')
    assert f'line 1: "text" is {named}, expected a string' in refused(path)


def test_half_a_surrogate_pair_is_named(tmp_path: Path) -> None:
    # JSON can spell it, UTF-8 and tokenizers cannot.
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"text": "fine"}\n{"text": "\\ud800"}\n')
    assert f"{path}, line 2: " in refused(path)


def test_a_truncated_gzip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl.gz"
    path.write_bytes(gzip.compress(lines(*map(str, range(1000))))[:-20])
    assert "cannot be read after line" in refused(path)


def test_a_gzip_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl.gz"
    path.write_bytes(lines("one"))
    assert "cannot be read after line 0" in refused(path)


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("good")
    bad = tmp_path / "latin.txt"
    bad.write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"latin\.txt: cannot be read as UTF-8"):
        list(documents(str(tmp_path)))


def test_a_missing_corpus_lists_the_kinds(tmp_path: Path) -> None:
    assert "Expected 'stdlib', a folder" in refused(tmp_path / "nowhere")


def test_the_standard_library_comes_with_its_docstrings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json").mkdir()
    (tmp_path / "json/tool.py").write_text('"""A module."""\n\ndef f():\n    """A function."""\n')
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "latin.py").write_bytes(b"# caf\xe9\n")
    for part in ("test", "site-packages"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "other.py").write_text('"""Not the library itself."""\n')
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"stdlib": str(tmp_path)})
    found = {document.name: document for document in documents("stdlib")}
    assert list(found) == ["broken.py", "json/tool.py", "json/tool.py:docstrings", "latin.py"]
    assert found["json/tool.py:docstrings"].text == "A module.\n\nA function."
    # A module and its docstrings must not be torn apart by the train/validation split.
    assert found["json/tool.py:docstrings"].group == found["json/tool.py"].group


def test_a_folder_may_hold_files_of_any_format(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b/rows.csv").write_text("text\nfrom csv\n")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"compressed"))
    (tmp_path / "c.jsonl").write_bytes(lines("one", "two"))
    for name in ("page.html", ".hidden.txt", "words.index", "data.tar"):
        (tmp_path / name).write_text("not text")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/x.txt").write_text("hidden")
    found = [(document.name, document.text) for document in documents(str(tmp_path))]
    assert found == [
        ("a.txt.gz", "compressed"),
        ("b/rows.csv:1", "from csv"),
        ("c.jsonl:1", "one"),
        ("c.jsonl:2", "two"),
    ]


def named(folder: Path, **options: str) -> list[str]:
    return [document.name for document in documents(str(folder), DocumentOptions.model_validate(options))]


def test_a_pattern_chooses_the_files_of_a_folder(tmp_path: Path) -> None:
    for name in ("a/one.txt", "a/two.md", "b/ca01", "b/x.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"text": "x"}')
    assert named(tmp_path) == ["a/one.txt", "a/two.md", "b/x.jsonl:1"]
    assert named(tmp_path, pattern="a/*") == ["a/one.txt", "a/two.md"]
    assert named(tmp_path, pattern="*wo*") == ["a/two.md"]
    assert named(tmp_path, pattern="c???") == ["b/ca01"]
    assert named(tmp_path, format="jsonl") == ["b/x.jsonl:1"]
    assert named(tmp_path, format="plain", pattern="x.*") == ["b/x.jsonl"]
    assert named(tmp_path / "b/ca01", format="jsonl") == ["ca01:1"]
    with pytest.raises(DataError, match="files of format tagged have no suffix of their own; name them: --pattern"):
        named(tmp_path, format="tagged")


def test_labels_are_found_in_names(tmp_path: Path) -> None:
    for name in ("spam-1/1.txt", "easy-ham/2.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")

    def labels(pattern: str) -> list[str | int | None]:
        return [document.label for document in documents(str(tmp_path), DocumentOptions(label_pattern=pattern))]

    assert labels(r"/([^/]+)/[^/]*$") == ["easy-ham", "spam-1"]
    assert labels("spam|ham") == ["ham", "spam"]
    with pytest.raises(DataError, match=r"easy-ham/2\.txt: label_pattern 'spam' matches nothing"):
        labels("spam")


@pytest.mark.parametrize("options", [{"label_key": "a", "label_pattern": "b"}, {"label_pattern": "("}])
def test_options_that_make_no_sense_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="label_pattern"):
        validate(DocumentOptions, options, "options")
