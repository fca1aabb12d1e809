from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset

from configs.errors import DataError
from data.index import open_index
from data.packing.driver import pack
from data.packing.text.documents import Document, documents
from data.packing.text.options import TextPackOptions
from data.packing.text.readers.options import DocumentOptions
from data.text.tokenizer import END_OF_TEXT, load_tokenizer


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def names_in(folder: Path, split: str) -> set[str]:
    return {
        json.loads(sample["json"])["name"]
        for path in folder.glob(f"{split}-*.tar")
        for sample in webdataset.WebDataset(str(path), shardshuffle=False)
    }


def test_the_same_corpus_gives_the_same_bytes(packed: Path, pack_options: TextPackOptions, tmp_path: Path) -> None:
    pack(pack_options, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(packed)


def test_every_document_is_packed_once_and_decodes_to_its_text(packed: Path, pack_options: TextPackOptions) -> None:
    tokenizer = load_tokenizer(packed / "tokenizer.json")
    texts = {document.name: document.text for document in documents(pack_options.corpus)}
    found = {}
    for path in packed.glob("*.tar"):
        for sample in webdataset.WebDataset(str(path), shardshuffle=False).decode():
            *ids, end = sample["npy"].tolist()
            assert end == tokenizer.token_to_id(END_OF_TEXT)
            assert sample["json"]["name"] not in found
            found[sample["json"]["name"]] = tokenizer.decode(ids, skip_special_tokens=False)
    assert found == texts


def test_corpus_json_says_what_lies_there(packed: Path) -> None:
    corpus = json.loads((packed / "corpus.json").read_text())
    assert corpus["tokenizer"] == {"file": "tokenizer.json", "vocab_size": 300}
    for split, content in corpus["splits"].items():
        indexes = [open_index(packed / name) for name in content["shards"]]
        assert sorted(content["shards"]) == sorted(path.name for path in packed.glob(f"{split}-*.tar"))
        assert content["samples"] == sum(len(index) for index in indexes)
        assert content["length"] == sum(index.length for index in indexes)
    assert len(corpus["splits"]["train"]["shards"]) > 1


def test_packing_again_does_no_work(
    packed: Path, pack_options: TextPackOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unexpected(corpus: str) -> Iterator[Document]:
        raise AssertionError("the corpus was read again")

    monkeypatch.setattr("data.packing.text.packer.documents", unexpected)
    assert pack(pack_options, packed) == json.loads((packed / "corpus.json").read_text())


@pytest.mark.parametrize("change", [{"vocab_size": 301}, {"validation": 0.3}, {"shard_mb": 1.0}, {"corpus": "other"}])
def test_other_options_in_the_same_folder_are_refused(
    packed: Path, pack_options: TextPackOptions, change: dict[str, Any]
) -> None:
    before = contents(packed)
    with pytest.raises(DataError, match="holds a corpus packed with"):
        pack(pack_options.model_copy(update=change), packed)
    assert contents(packed) == before


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[]", b"not json", b"\xff"])
def test_a_folder_of_something_else_is_left_alone(
    pack_options: TextPackOptions, tmp_path: Path, content: bytes | None
) -> None:
    (tmp_path / "precious.txt").write_text("keep me")
    if content is not None:
        (tmp_path / "corpus.json").write_bytes(content)
    before = contents(tmp_path)
    with pytest.raises(DataError, match="exists and is not a packed corpus"):
        pack(pack_options, tmp_path)
    assert contents(tmp_path) == before


def write_corpus(folder: Path, names: list[str]) -> str:
    folder.mkdir()
    for name in names:
        (folder / name).write_text(f"the text of {name}\n" * 3)
    return str(folder)


@pytest.mark.parametrize("texts", [[], ["", "  \n"]])
def test_an_empty_corpus_is_refused_and_leaves_no_corpus(tmp_path: Path, texts: list[str]) -> None:
    corpus = tmp_path / "empty"
    corpus.mkdir()
    for number, text in enumerate(texts):
        (corpus / f"{number}.txt").write_text(text)
    with pytest.raises(DataError, match="the corpus is empty") as caught:
        pack(TextPackOptions(corpus=str(corpus), vocab_size=300), tmp_path / "out")
    assert str(corpus) in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.rglob("corpus.json"))


def test_a_corpus_too_small_to_hold_out_anything_is_refused(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "small", ["a.txt"])
    with pytest.raises(DataError, match="no example fell into the validation split"):
        pack(TextPackOptions(corpus=corpus, vocab_size=300, validation=1e-9), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_needs_to_be_held_out(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "small", ["a.txt"])
    packed = pack(TextPackOptions(corpus=corpus, vocab_size=300, validation=0.0), tmp_path / "out")
    assert packed["splits"]["validation"]["samples"] == 0
    assert packed["splits"]["train"]["samples"] == 1
    assert not list((tmp_path / "out").glob("validation-*"))


def test_an_interrupted_run_leaves_only_a_partial_folder_and_can_be_repeated(
    tmp_path: Path, packed: Path, pack_options: TextPackOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = 0

    def interrupted(corpus: str, options: DocumentOptions) -> Iterator[Document]:
        # The first pass looks whether there is any text, the second trains; the third writes and is cut short.
        nonlocal passes
        passes += 1
        for number, document in enumerate(documents(corpus, options)):
            if passes == 3 and number == 30:
                raise KeyboardInterrupt
            yield document

    with monkeypatch.context() as patched:
        patched.setattr("data.packing.text.packer.documents", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pack(pack_options, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial"]
    assert list((tmp_path / "out.partial").glob("*.tar"))
    assert not list(tmp_path.rglob("corpus.json"))
    pack(pack_options, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(packed)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_more_documents_move_none_across_the_split(tmp_path: Path) -> None:
    few = [f"{number}.txt" for number in range(0, 40, 2)]
    many = [f"{number}.txt" for number in range(40)]
    for name, chosen in (("few", few), ("many", many)):
        corpus = write_corpus(tmp_path / f"{name}-text", chosen)
        pack(TextPackOptions(corpus=corpus, vocab_size=300, validation=0.3), tmp_path / name)
    for split in ("train", "validation"):
        assert names_in(tmp_path / "few", split) == names_in(tmp_path / "many", split) & set(few)
    assert names_in(tmp_path / "many", "validation")


def test_documents_of_one_group_stay_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grouped = [Document(f"{group}:{part}", f"text {part}", f"{group}") for group in range(20) for part in range(3)]
    monkeypatch.setattr("data.packing.text.packer.documents", lambda corpus, options: iter(grouped))
    pack(TextPackOptions(corpus="grouped", vocab_size=300, validation=0.3), tmp_path / "out")
    sides = [
        {name.partition(":")[0] for name in names_in(tmp_path / "out", split)} for split in ("train", "validation")
    ]
    assert sides[0].isdisjoint(sides[1])
    assert len(sides[0] | sides[1]) == 20


def test_the_tokenizer_is_not_trained_on_held_out_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def spy(texts: Iterator[str], vocab_size: int, **options: Any) -> object:
        from data.text.tokenizer import train_tokenizer

        seen.extend(texts)
        return train_tokenizer(iter(seen), vocab_size, **options)

    monkeypatch.setattr("data.packing.text.packer.train_tokenizer", spy)
    corpus = write_corpus(tmp_path / "text", [f"{number}.txt" for number in range(40)])
    pack(TextPackOptions(corpus=corpus, vocab_size=300, validation=0.3), tmp_path / "out")
    in_train = names_in(tmp_path / "out", "train")
    assert sorted(seen) == sorted(f"the text of {name}\n" * 3 for name in in_train)


def test_a_given_tokenizer_is_used_unchanged(packed: Path, text_folder: Path, tmp_path: Path) -> None:
    theirs = packed / "tokenizer.json"
    pack(TextPackOptions(corpus=str(text_folder), tokenizer=str(theirs), validation=0.2), tmp_path / "out")
    assert (tmp_path / "out/tokenizer.json").read_bytes() == theirs.read_bytes()


def test_a_large_vocabulary_takes_wider_tokens(
    tmp_path: Path, packed: Path, text_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenizers.Tokenizer.get_vocab_size", lambda self: 2**16 + 1, raising=False)
    pack(
        TextPackOptions(corpus=str(text_folder), tokenizer=str(packed / "tokenizer.json"), validation=0.2),
        tmp_path / "out",
    )
    assert open_index(tmp_path / "out/train-000000.tar").dtype == np.dtype(np.uint32).str
    assert open_index(packed / "train-000000.tar").dtype == np.dtype(np.uint16).str


def test_a_bad_line_is_named_and_leaves_no_corpus(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"text": "one"}\n{"txt": "two"}\n')
    with pytest.raises(DataError, match=r"corpus\.jsonl, line 2"):
        pack(TextPackOptions(corpus=str(path), vocab_size=300), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unwritable_place_is_named(pack_options: TextPackOptions, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"file/out\.partial: Not a directory"):
        pack(pack_options, tmp_path / "file/out")


def test_the_shard_size_decides_the_cut_and_nothing_else(
    packed: Path, pack_options: TextPackOptions, tmp_path: Path, read_plainly: Callable[[Path], list[dict[str, bytes]]]
) -> None:
    pack(pack_options.model_copy(update={"shard_mb": 100.0}), tmp_path / "whole")
    (whole,) = (tmp_path / "whole").glob("train-*.tar")
    parts = [read_plainly(path) for path in sorted(packed.glob("train-*.tar"))]
    assert [sample["npy"] for part in parts for sample in part] == [sample["npy"] for sample in read_plainly(whole)]
    # A shard is closed by the sample that takes it to 20,000 bytes (tar headers included), the last one by the end.
    sizes = [(packed / f"train-{number:06d}.tar").stat().st_size for number in range(len(parts))]
    assert all(size >= 20_000 for size in sizes[:-1])
