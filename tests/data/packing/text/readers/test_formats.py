from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from data.packing.text.readers.formats import FORMATS, format_by_suffix
from data.packing.text.readers.options import Format


def test_the_table_has_every_format_that_can_be_asked_for() -> None:
    assert set(get_args(Format)) == {"auto", *FORMATS}


def test_no_suffix_stands_for_two_formats() -> None:
    counts = Counter(suffix for found in FORMATS.values() for suffix in found.suffixes)
    assert max(counts.values()) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.txt.gz", "plain"), ("A.CSV", "csv"), ("w.dict.dz", "dictd"), ("x.fna.zst", "fasta"), ("i.html", None)],
)
def test_suffixes_tell_formats(name: str, expected: str | None) -> None:
    assert format_by_suffix(Path(name)) is (FORMATS[expected] if expected else None)
