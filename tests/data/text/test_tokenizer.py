from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import DataError
from data.text.tokenizer import END_OF_TEXT, TokenizerKind, bytes_of_tokens, load_tokenizer, train_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TEXTS = ["the cat sat on the mat", "the hat of the cat", "that cat"] * 5


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(iter(TEXTS), vocab_size=265)


def test_training_is_deterministic(tokenizer: Tokenizer) -> None:
    assert train_tokenizer(iter(TEXTS), vocab_size=265).to_str() == tokenizer.to_str()


def test_the_vocabulary_has_the_asked_size_and_words_it_saw(tokenizer: Tokenizer) -> None:
    assert tokenizer.get_vocab_size() == 265
    assert len(tokenizer.encode(" the cat").ids) < len(" the cat")


@settings(deadline=None)
@given(text=st.text())
def test_any_text_survives_a_round_trip(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_the_end_of_text_is_one_token(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode(END_OF_TEXT).ids == [tokenizer.token_to_id(END_OF_TEXT)]


def test_the_smallest_vocabulary_is_bytes_and_the_end_of_text() -> None:
    assert train_tokenizer(iter(TEXTS), vocab_size=257).get_vocab_size() == 257
    with pytest.raises(DataError, match="--vocab-size 256: expected at least 257"):
        train_tokenizer(iter(TEXTS), vocab_size=256)


def test_a_saved_tokenizer_loads(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    assert load_tokenizer(path).to_str() == tokenizer.to_str()


def test_a_missing_tokenizer_names_the_key(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.json: no such tokenizer.*data\.tokenizer"):
        load_tokenizer(tmp_path / "gone.json")


@pytest.mark.parametrize("content", [b"", b"{}", b"not json", b"\xff\xfe"])
def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"tokenizer\.json: not a tokenizer\.json"):
        load_tokenizer(path)


def test_a_tokenizer_without_end_of_text_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    path = tmp_path / "tokenizer.json"
    Tokenizer(models.BPE()).save(str(path))
    with pytest.raises(DataError, match=r"has no token <\|endoftext\|>, which ends every document"):
        load_tokenizer(path)


def test_a_tokenizer_of_others_ends_documents_with_the_token_that_is_named(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    path = tmp_path / "tokenizer.json"
    other = Tokenizer(models.BPE())
    other.add_special_tokens(["<s>", "</s>"])
    other.save(str(path))
    assert load_tokenizer(path, end_of_text="</s>").token_to_id("</s>") == 1
    with pytest.raises(DataError, match="Name the one that does; its special tokens are <s> </s>"):
        load_tokenizer(path)


@pytest.mark.parametrize("kind", ["byte_bpe", "bytes", "bpe", "unigram"])
@settings(deadline=None, max_examples=40)
@given(text=st.text(st.characters(blacklist_characters="\u2581", blacklist_categories=("Cs",)), min_size=1))
def test_bytes_of_tokens_add_up_to_the_text(kind: TokenizerKind, text: str) -> None:
    tokenizer = trained(kind)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    written = sum(bytes_of_tokens_of(kind)[number] for number in ids)
    # Two kinds put one space before every text.
    assert written - len(text.encode()) in ((0,) if kind in ("byte_bpe", "bytes") else (0, 1))


def test_special_tokens_stand_for_no_bytes(tokenizer: Tokenizer) -> None:
    assert bytes_of_tokens(tokenizer)[tokenizer.token_to_id(END_OF_TEXT)] == 0


@functools.cache
def trained(kind: TokenizerKind) -> Tokenizer:
    return train_tokenizer(TEXTS, vocab_size=300, kind=kind)


@functools.cache
def bytes_of_tokens_of(kind: TokenizerKind) -> list[int]:
    return bytes_of_tokens(trained(kind))
