"""How each kind of tokenizer is made.

The library visits words and characters in the order of hash tables, which differs from call to call. What
could show in the result is therefore fixed beforehand (the characters and their ids) or afterwards (the
order and last bits of the scores of unigram pieces).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from configs.errors import DataError

_UNKNOWN = "<unk>"
_BYTES = [f"<0x{value:02X}>" for value in range(256)]
"Entries by which the library spells characters that are none."
_BERT_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_SCORE_DIGITS = 6
_BYTE_PENALTY = 1000.0
"By how much a byte is less likely than the least likely piece: a text that shows '<0x41>' is not to be read as one."


def byte_bpe(texts: Iterable[str], vocab_size: int, special: Sequence[str]) -> Tokenizer:
    """Merges of bytes (Radford et al. 2019)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    _require_room(vocab_size, len(alphabet) + len(special), "every byte and the special tokens")
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(iter(texts), trainer)
    return tokenizer


def bytes_only(texts: Iterable[str], vocab_size: int, special: Sequence[str]) -> Tokenizer:
    """Byte b is token b; the special tokens follow from 256 on (Xue et al. 2022, ByT5, counts otherwise)."""
    del texts, vocab_size
    characters = _byte_characters()
    tokenizer = Tokenizer(models.BPE({character: value for value, character in enumerate(characters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    _add_special(tokenizer, special)
    return tokenizer


def bpe(texts: Iterable[str], vocab_size: int, special: Sequence[str]) -> Tokenizer:
    """Merges of characters (Sennrich et al. 2016); rare characters are spelled in bytes.

    At most half of the entries are characters, the most frequent ones.
    """
    room = vocab_size - len(special) - len(_BYTES)
    _require_room(vocab_size, len(special) + len(_BYTES) + 2, "every byte, the special tokens and a character")
    texts = _readable_twice(texts)
    alphabet = _frequent((text.replace(" ", "\u2581") for text in texts), room // 2)
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = _words()
    trainer = trainers.BpeTrainer(
        vocab_size=room, initial_alphabet=alphabet, limit_alphabet=len(alphabet), show_progress=False
    )
    trained.train_from_iterator(iter(texts), trainer)
    model = json.loads(trained.to_str())["model"]
    tokens = [*special, *_BYTES, *sorted(model["vocab"], key=model["vocab"].__getitem__)]
    merges = [(first, second) for first, second in model["merges"]]
    vocab = {token: number for number, token in enumerate(tokens)}
    return _sentence_piece(models.BPE(vocab, merges, byte_fallback=True), special)


def unigram(texts: Iterable[str], vocab_size: int, special: Sequence[str]) -> Tokenizer:
    """The pieces of the likeliest unigram model (Kudo 2018); rare characters are spelled in bytes."""
    fixed = [*special, _UNKNOWN]
    _require_room(vocab_size, len(fixed) + len(_BYTES) + 2, "every byte, the special tokens and a character")
    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = _words()
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size - len(special) - len(_BYTES),
        unk_token=_UNKNOWN,
        special_tokens=[_UNKNOWN],
        show_progress=False,
    )
    try:
        trained.train_from_iterator(iter(texts), trainer)
    except Exception as error:  # the library raises bare Exception
        raise DataError(f"--vocab-size {vocab_size}: no unigram model was found: {error}") from None
    pieces = _settled(json.loads(trained.to_str())["model"]["vocab"][1:])
    if len(pieces) + len(fixed) + len(_BYTES) > vocab_size:
        raise DataError(
            f"--vocab-size {vocab_size}: the texts have more characters than that. Ask for at least "
            f"{len(pieces) + len(fixed) + len(_BYTES)}, or choose the kind byte_bpe."
        )
    rare = min((score for _, score in pieces), default=0.0) - _BYTE_PENALTY
    vocab = [*((token, 0.0) for token in fixed), *((token, rare) for token in _BYTES), *pieces]
    return _sentence_piece(models.Unigram(vocab, unk_id=len(special), byte_fallback=True), fixed)


def _settled(pieces: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Pieces and scores, freed of what differs from call to call, the likeliest first.

    Sums in varying order differ in their last bits. Characters that are in no piece are added in varying
    order, with the least score plus 0, 0.0001, 0.0002, ...: they all get the least.
    """
    least = min((score for _, score in pieces), default=0.0)
    ladder = least + 1e-4 * sum(len(piece) == 1 for piece, _ in pieces)
    settled = [(piece, least if len(piece) == 1 and score < ladder else score) for piece, score in pieces]
    rounded = [(piece, round(score, _SCORE_DIGITS)) for piece, score in settled]
    return sorted(rounded, key=lambda item: (-item[1], item[0]))


def wordpiece(texts: Iterable[str], vocab_size: int, special: Sequence[str]) -> Tokenizer:
    """Lower-cased words without accents, and parts of words (Devlin et al. 2019); the rest is [UNK].

    At most half of the entries are characters (at the beginning of a word, and within one).
    """
    fixed = [*_BERT_SPECIAL, *(token for token in special if token not in _BERT_SPECIAL)]
    _require_room(vocab_size, len(fixed) + 4, "the special tokens and a character")
    texts = _readable_twice(texts)
    normalizer = normalizers.BertNormalizer()
    words = ("".join(normalizer.normalize_str(text).split()) for text in texts)
    alphabet = _frequent(words, (vocab_size - len(fixed)) // 4)
    trained = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    trained.normalizer, trained.pre_tokenizer = normalizer, pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        # Within words too: otherwise these get their ids in the order in which words are met.
        special_tokens=[*fixed, *(f"##{character}" for character in alphabet)],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    trained.train_from_iterator(iter(texts), trainer)
    tokenizer = Tokenizer(models.WordPiece(trained.get_vocab(with_added_tokens=True), unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    _add_special(tokenizer, fixed)
    return tokenizer


TRAINERS: Mapping[str, Callable[[Iterable[str], int, Sequence[str]], Tokenizer]] = {
    "byte_bpe": byte_bpe,
    "bytes": bytes_only,
    "bpe": bpe,
    "unigram": unigram,
    "wordpiece": wordpiece,
}


def _require_room(vocab_size: int, least: int, what: str) -> None:
    if vocab_size < least:
        raise DataError(f"--vocab-size {vocab_size}: expected at least {least} ({what}).")


def _readable_twice(texts: Iterable[str]) -> Iterable[str]:
    return list(texts) if iter(texts) is texts else texts


def _frequent(texts: Iterable[str], most: int) -> list[str]:
    """The most frequent characters, sorted."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    return sorted(sorted(counts, key=lambda character: (-counts[character], character))[:most])


def _byte_characters() -> list[str]:
    """The printable character by which ByteLevel writes each byte: latin-1 where that prints, then from 256 on."""
    shown = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [value for value in range(256) if value not in shown]
    characters = {value: chr(value) for value in shown} | {value: chr(256 + i) for i, value in enumerate(hidden)}
    return [characters[value] for value in range(256)]


def _words() -> pre_tokenizers.PreTokenizer:
    """Words with the space before them, as SentencePiece marks it; line breaks stand alone."""
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\n+"), "isolated"), pre_tokenizers.Metaspace(prepend_scheme="first")]
    )


def _sentence_piece(model: models.Model, special: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = _words()
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    _add_special(tokenizer, special)
    return tokenizer


def _add_special(tokenizer: Tokenizer, special: Sequence[str]) -> None:
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
