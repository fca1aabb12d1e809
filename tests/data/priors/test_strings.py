"""The answers are parsed back and checked."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.priors.options import AdditionOptions, CopyOptions, RecallOptions, StringOptions
from data.priors.strings import END, FIRST_LETTER, PLUS, SEPARATOR, START
from data.sources import build_source

Example = tuple[list[int], list[int]]


def examples(options: StringOptions, index: int) -> list[Example]:
    """Question and answer of every whole example of a window: its start and end mark checked and left out."""
    sample = build_source(options)[index]
    tokens, segments, is_target = (sample[name] for name in ("tokens", "segments", "is_target"))
    found = []
    for segment in range(int(segments[-1])):  # the last one may be cut off
        mine = segments == segment
        question, answer = tokens[mine & (is_target == 0)].tolist(), tokens[mine & (is_target == 1)].tolist()
        assert tokens[mine].tolist() == question + answer
        assert question[0] == START
        assert answer[-1] == END
        assert START not in question[1:] + answer
        assert END not in question + answer[:-1]
        found.append((question[1:], answer[:-1]))
    return found


def split(tokens: list[int], mark: int) -> list[list[int]]:
    places = [-1, *(place for place, token in enumerate(tokens) if token == mark), len(tokens)]
    return [tokens[a + 1 : b] for a, b in pairwise(places)]


def occurrences(string: list[int], key: list[int]) -> list[int]:
    return [i for i in range(len(string) - len(key) + 1) if string[i : i + len(key)] == key]


string_options = st.one_of(
    st.builds(CopyOptions, length=st.integers(1, 90), letters=st.integers(2, 30), max_string=st.integers(5, 30)),
    st.builds(RecallOptions, length=st.integers(1, 90), key=st.sampled_from(["before", "after"])),
    st.builds(AdditionOptions, length=st.integers(1, 90), reverse=st.booleans(), max_digits=st.integers(1, 30)),
)


@settings(max_examples=40, deadline=None)
@given(options=string_options, index=st.integers(0, 999))
def test_shapes_types_and_ranges(options: StringOptions, index: int) -> None:
    sample = build_source(options)[index]
    assert {name: (value.shape, value.dtype.name) for name, value in sample.items()} == {
        "tokens": ((options.length + 1,), "int32"),
        "segments": ((options.length + 1,), "int32"),
        "is_target": ((options.length + 1,), "int8"),
    }
    assert ((sample["tokens"] >= 0) & (sample["tokens"] < options.vocab_size)).all()
    steps = np.diff(sample["segments"])
    assert sample["segments"][0] == 0
    assert set(steps.tolist()) <= {0, 1}
    # A segment begins where an example does, and nowhere else.
    assert np.array_equal(np.flatnonzero(steps) + 1, np.flatnonzero(sample["tokens"] == START)[1:])


def test_the_vocabulary_is_used_up_to_its_end() -> None:
    for options in (CopyOptions(length=500), RecallOptions(length=500), AdditionOptions(length=500)):
        tokens = np.concatenate([build_source(options)[index]["tokens"] for index in range(10)])
        assert np.unique(tokens).tolist() == list(range(options.vocab_size))


def test_copies_are_copies_of_every_length() -> None:
    options = CopyOptions(length=400, min_string=5, max_string=9)
    found = [example for index in range(5) for example in examples(options, index)]
    assert all(question == [*answer, SEPARATOR] for question, answer in found)
    assert {len(answer) for _, answer in found} == {5, 6, 7, 8, 9}


@pytest.mark.parametrize("key_place", ["before", "after"])
@pytest.mark.parametrize("changes", [{}, {"letters": 5, "max_string": 25}, {"key_letters": 1, "answer_letters": 4}])
def test_a_key_occurs_once_and_the_answer_follows_it(key_place: str, changes: dict[str, Any]) -> None:
    options = RecallOptions.model_validate({"length": 400, "key": key_place} | changes)
    places = set()
    for question, answer in (example for index in range(5) for example in examples(options, index)):
        parts = split(question, SEPARATOR)
        key, string = parts[:2] if key_place == "before" else parts[1::-1]
        assert len(parts) == (3 if key_place == "before" else 2)
        assert len(key) == options.key_letters
        (place,) = occurrences(string, key)
        start = place + len(key)
        assert answer == string[start : start + options.answer_letters]
        assert len(answer) == options.answer_letters
        places.add(place)
    assert len(places) > 5


@pytest.mark.parametrize("reverse", [True, False])
@pytest.mark.parametrize("max_digits", [1, 4, 40])
def test_sums_are_right(reverse: bool, max_digits: int) -> None:
    def number(tokens: list[int]) -> int:
        digits = [str(token - FIRST_LETTER) for token in tokens]
        return int("".join(digits[::-1] if reverse else digits))

    options = AdditionOptions(length=600, max_digits=max_digits, reverse=reverse)
    found = [example for index in range(10) for example in examples(options, index)]
    lengths = set()
    for question, answer in found:
        operands, nothing = split(question, SEPARATOR)
        a, b = split(operands, PLUS)
        assert nothing == []
        assert number(a) + number(b) == number(answer)
        assert len(answer) == max(len(a), len(b)) + 1
        assert all(len(x) == len(str(number(x))) for x in (a, b))
        lengths |= {len(a), len(b)}
    assert lengths == set(range(1, max_digits + 1))


def test_the_last_example_is_cut_off_not_padded() -> None:
    sample = build_source(CopyOptions(length=10, min_string=20, max_string=20))[0]
    assert sample["tokens"][0] == START
    assert (sample["tokens"][1:] >= FIRST_LETTER).all()
    assert not sample["is_target"].any()
    assert not sample["segments"].any()
