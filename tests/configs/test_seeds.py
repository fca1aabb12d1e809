from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from configs.seeds import derive


@given(seed=st.integers(0, 2**63), purpose=st.lists(st.integers() | st.text(), max_size=4))
def test_a_seed_is_a_non_negative_63_bit_number(seed: int, purpose: list[int | str]) -> None:
    assert 0 <= derive(seed, *purpose) < 2**63
    assert derive(seed, *purpose) == derive(seed, *purpose)


def test_every_use_has_a_seed_of_its_own() -> None:
    uses = list(itertools.product([0, 1, 11], ["order", "dropout"], [0, 1, 11], [0, 1, 11]))
    # Neither joining ("1", "11") and ("11", "1") nor leaving a part out may collide.
    found = {derive(*use) for use in uses} | {derive(*use[:3]) for use in uses}
    assert len(found) == len(uses) + len(uses) // 3


def test_seeds_are_the_same_on_every_machine() -> None:
    # A change here changes every run that anybody resumes.
    assert derive(0, "order", 0) == GOLDEN


GOLDEN = 1370560536841482319
