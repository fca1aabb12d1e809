"""Copying, recall by key and addition, as packed tokens.

Copying and recall tell token mixers apart: what a fixed-size state cannot hold it cannot repeat
(Jelassi et al. 2024, "Repeat after me"). Addition with reversed digits is learnable one digit at a
time (Lee et al. 2025, "Self-improving transformers overcome easy-to-hard and length generalization
challenges").

Token ids: 0 starts an example, 1 separates, 2 ends; letters and digits follow from 3 on, then plus.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from data.priors.options import AdditionOptions, CopyOptions, LetterOptions, RecallOptions, StringOptions
from data.priors.prior import Prior, between
from data.sample import Sample

START, SEPARATOR, END, FIRST_LETTER = range(4)
PLUS = FIRST_LETTER + 10

Tokens = NDArray[np.int64]
StringOptionsT = TypeVar("StringOptionsT", bound=StringOptions)


class Strings(Prior[StringOptionsT]):
    """A `Source` of `{"tokens": [L + 1], "segments": [L + 1]}` (int32) and `{"is_target": [L + 1]}` (int8).

    Examples fill the window one after the other, each with its own segment number; the last is cut
    off at the end. `is_target` is 1 at the tokens of an answer and at the end mark. The causal_lm
    objective ignores it: it also asks for the questions, whose letters nobody can predict.
    """

    @abstractmethod
    def example(self, rng: np.random.Generator) -> tuple[Tokens, Tokens]:
        """A question, from its start mark on, and its answer."""

    def make(self, rng: np.random.Generator) -> Sample:
        """One window."""
        size = self.options.length + 1
        tokens_L = np.empty(size, dtype=np.int32)
        segments_L = np.empty(size, dtype=np.int32)
        is_target_L = np.zeros(size, dtype=np.int8)
        filled = segment = 0
        while filled < size:
            question, answer = self.example(rng)
            example = np.concatenate([question, answer, [END]])[: size - filled]
            stop = filled + len(example)
            tokens_L[filled:stop] = example
            segments_L[filled:stop] = segment
            is_target_L[filled + len(question) : stop] = 1
            filled, segment = stop, segment + 1
        return {"tokens": tokens_L, "segments": segments_L, "is_target": is_target_L}


class Copy(Strings[CopyOptions]):
    """`$ string | string .`"""

    def example(self, rng: np.random.Generator) -> tuple[Tokens, Tokens]:
        """A string and itself."""
        string = _letters(rng, self.options)
        return np.concatenate([[START], string, [SEPARATOR]]), string


class Recall(Strings[RecallOptions]):
    """`$ key | string | answer .` or `$ string | key answer .`; the key occurs once in the string."""

    def example(self, rng: np.random.Generator) -> tuple[Tokens, Tokens]:
        """A string with a key, and the letters that follow the key."""
        options = self.options
        places = np.zeros(0, dtype=np.int64)
        while not len(places):
            string = _letters(rng, options)
            places = _unique_places(string - FIRST_LETTER, options)
            places = places[places <= len(string) - options.key_letters - options.answer_letters]
        place = int(places[rng.integers(len(places))])
        key, rest = string[place : place + options.key_letters], string[place + options.key_letters :]
        if options.key == "before":
            question = np.concatenate([[START], key, [SEPARATOR], string, [SEPARATOR]])
        else:
            question = np.concatenate([[START], string, [SEPARATOR], key])
        return question, rest[: options.answer_letters]


class Addition(Strings[AdditionOptions]):
    """`$ a + b | sum .`; the sum is padded with zeros to one digit more than the longer operand."""

    def example(self, rng: np.random.Generator) -> tuple[Tokens, Tokens]:
        """Two numbers and their sum."""
        a, b = self._operand(rng), self._operand(rng)
        answer = str(int(a) + int(b)).zfill(max(len(a), len(b)) + 1)
        question = np.concatenate([[START], self._tokens(a), [PLUS], self._tokens(b), [SEPARATOR]])
        return question, self._tokens(answer)

    def _operand(self, rng: np.random.Generator) -> str:
        """Decimal digits; only the number 0 begins with a zero."""
        digits = rng.integers(10, size=between(rng, self.options.min_digits, self.options.max_digits))
        if len(digits) > 1:
            digits[0] = between(rng, 1, 9)
        return "".join(map(str, digits.tolist()))

    def _tokens(self, digits: str) -> Tokens:
        values = np.frombuffer(digits.encode(), dtype=np.uint8).astype(np.int64) - ord("0") + FIRST_LETTER
        return values[::-1] if self.options.reverse else values


def _letters(rng: np.random.Generator, options: LetterOptions) -> Tokens:
    length = between(rng, options.min_string, options.max_string)
    return FIRST_LETTER + rng.integers(options.letters, size=length)


def _unique_places(letters: Tokens, options: RecallOptions) -> Tokens:
    """Where the keys begin that occur only once, anywhere in the string of letters 0, 1, ..."""
    num_places = len(letters) - options.key_letters + 1
    codes = np.zeros(num_places, dtype=np.int64)
    for offset in range(options.key_letters):
        codes = codes * options.letters + letters[offset : offset + num_places]
    _, first, counts = np.unique(codes, return_index=True, return_counts=True)
    return np.sort(first[counts == 1])
