from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import DataError
from data.text.tokenizer import END_OF_TEXT, TokenizerKind, load_tokenizer, train_tokenizer
from data.text.tokenizer_training import TRAINERS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

KINDS = get_args(TokenizerKind)
TEXTS = [
    "the cat sat on the mat",
    "the hat of the cat\nthat cat",
    "caf\u00e9 na\u00efve, \u4e2d\u6587",
    "a mat; a hat!",
] * 5
VOCAB_SIZE = 310
LEAST = {"byte_bpe": 257, "bpe": 259, "unigram": 260, "wordpiece": 10}


def train(kind: str, size: int = VOCAB_SIZE, special: tuple[str, ...] = ("<mask>",)) -> Tokenizer:
    return train_tokenizer(iter(TEXTS), size, kind=kind, special_tokens=special)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Tokenizer]:
    return {kind: train(kind) for kind in KINDS}


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


def round_trip(tokenizer: Tokenizer, text: str) -> str:
    return tokenizer.decode(ids(tokenizer, text), skip_special_tokens=False)


def test_every_kind_has_a_trainer() -> None:
    assert set(KINDS) == set(TRAINERS)


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_deterministic(tokenizers: dict[str, Tokenizer], kind: str) -> None:
    assert all(train(kind).to_str() == tokenizers[kind].to_str() for _ in range(3))


@pytest.mark.parametrize("kind", KINDS)
def test_lists_and_iterators_of_texts_are_the_same(tokenizers: dict[str, Tokenizer], kind: TokenizerKind) -> None:
    again = train_tokenizer(TEXTS, VOCAB_SIZE, kind=kind, special_tokens=["<mask>"])
    assert again.to_str() == tokenizers[kind].to_str()


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_are_single_entries_that_decoding_can_skip(
    tokenizers: dict[str, Tokenizer], kind: str, tmp_path: Path
) -> None:
    tokenizer = tokenizers[kind]
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for found in (tokenizer, load_tokenizer(tmp_path / "tokenizer.json")):
        for token in (END_OF_TEXT, "<mask>"):
            assert ids(found, token) == [found.token_to_id(token)]
            assert found.decode([found.token_to_id(token)]) == ""
        assert found.to_str() == tokenizer.to_str()


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_numbered_without_gaps(tokenizers: dict[str, Tokenizer], kind: str) -> None:
    vocab = tokenizers[kind].get_vocab()
    assert sorted(vocab.values()) == list(range(len(vocab)))
    assert len(vocab) <= VOCAB_SIZE


@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordpiece"])
def test_frequent_words_become_few_tokens(tokenizers: dict[str, Tokenizer], kind: str) -> None:
    assert len(ids(tokenizers[kind], "the cat sat")) < len("thecatsat")


@settings(deadline=None)
@given(text=st.text())
def test_bytes_are_the_bytes(tokenizers: dict[str, Tokenizer], text: str) -> None:
    assert ids(tokenizers["bytes"], text) == list(text.encode())
    assert round_trip(tokenizers["bytes"], text) == text


def test_bytes_are_followed_by_the_special_tokens(tokenizers: dict[str, Tokenizer]) -> None:
    assert tokenizers["bytes"].token_to_id(END_OF_TEXT) == 256
    assert tokenizers["bytes"].get_vocab_size() == 258


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@settings(deadline=None)
@given(text=st.text() | st.text("the cat\n<0x41>\u2603 "))
def test_any_text_survives_but_for_its_first_space(tokenizers: dict[str, Tokenizer], kind: str, text: str) -> None:
    expected = text.replace("\u2581", " ").removeprefix(" ")
    assert round_trip(tokenizers[kind], text) == expected


@settings(deadline=None)
@given(words=st.lists(st.text("ACEHIMNOST\u00e9\u00cf", min_size=1), min_size=1))
def test_wordpiece_keeps_words_but_for_case_and_accents(tokenizers: dict[str, Tokenizer], words: list[str]) -> None:
    text = " ".join(words)
    plain = "".join(mark for mark in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(mark))
    assert round_trip(tokenizers["wordpiece"], text) == plain


def test_wordpiece_has_the_special_tokens_of_bert(tokenizers: dict[str, Tokenizer]) -> None:
    found = [tokenizers["wordpiece"].token_to_id(f"[{name}]") for name in ("PAD", "UNK", "CLS", "SEP", "MASK")]
    assert found == [0, 1, 2, 3, 4]
    assert ids(tokenizers["wordpiece"], "\u2603") == [1]


@pytest.mark.parametrize("kind", LEAST)
def test_a_vocabulary_that_is_too_small_is_refused(kind: str) -> None:
    with pytest.raises(DataError, match=f"--vocab-size {LEAST[kind] - 1}: expected at least {LEAST[kind]} "):
        train(kind, LEAST[kind] - 1, ())


@pytest.mark.parametrize("kind", ["byte_bpe", "bpe", "wordpiece"])
def test_the_smallest_vocabulary_is_kept_to(kind: str) -> None:
    assert train(kind, LEAST[kind], ()).get_vocab_size() <= LEAST[kind]


def test_a_unigram_vocabulary_below_the_characters_of_the_texts_is_refused() -> None:
    with pytest.raises(DataError, match="--vocab-size 260: "):
        train("unigram", 260, ())


@pytest.mark.parametrize("special", [("<a>", "<a>"), ("",), (END_OF_TEXT,)])
def test_special_tokens_that_are_none_are_refused(special: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="special tokens"):
        train("byte_bpe", 300, special)
