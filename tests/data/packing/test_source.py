"""Any source, packed: read back, its samples are the same arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from configs.errors import ConfigError, UserError
from data.packing.driver import pack
from data.packing.source_options import SourcePackOptions
from data.samples import Samples
from data.sources import SamplesOptions, build_source, source_at

_SOURCES = {
    "regression": "{kind: linear_regression, size: 7, dim: 3}",
    "bandit": "{kind: bandit, size: 5}",
    "tables": "{kind: forest, size: 4, rows: 20}",
    "strings": "{kind: addition, size: 6, length: 64}",
}


@pytest.mark.parametrize("name", _SOURCES)
def test_a_prior_and_its_shards_are_the_same(name: str, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"data:\n  train: {_SOURCES[name]}\n")
    corpus = pack(SourcePackOptions(corpus=str(recipe), key="data.train"), tmp_path / "out")
    source = build_source(source_at(str(recipe), "data.train"))
    assert corpus["fingerprint"] == source.fingerprint
    packed = Samples(SamplesOptions(shards=str(tmp_path / "out/*.tar")))
    assert len(packed) == len(source) == corpus["splits"]["train"]["samples"]
    for index in range(len(source)):
        expected, found = source[index], packed[index]
        assert found.keys() == expected.keys()
        for field, array in expected.items():
            assert (found[field].dtype, found[field].shape) == (array.dtype, array.shape)
            np.testing.assert_array_equal(found[field], array)


def test_a_missing_key_or_file_is_named(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("data: {}\n")
    with pytest.raises(ConfigError, match=r"has no key 'data\.train'"):
        pack(SourcePackOptions(corpus=str(recipe), key="data.train"), tmp_path / "out")
    with pytest.raises(UserError, match=r"nowhere\.yaml"):
        pack(SourcePackOptions(corpus="nowhere.yaml"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
