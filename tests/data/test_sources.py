from __future__ import annotations

from pathlib import Path

import pytest

from configs.errors import ConfigError
from configs.options import validate
from data.sources import DataOptions, build_source
from data.text.windows import TokenWindows


def test_the_kind_picks_the_source(packed: Path) -> None:
    tree = {"train": {"kind": "token_windows", "shards": str(packed / "train-*.tar"), "length": 16}}
    options = validate(DataOptions, tree, "test")
    assert isinstance(options, DataOptions)
    source = build_source(options.train)
    assert isinstance(source, TokenWindows)
    assert source.length == 16


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"length": 0}, "train.length"),
        ({"kind": "token_window"}, "did you mean 'token_windows'"),
        ({"shards": 5}, "train.shards"),
        ({"size": 5}, "train.size: unknown key"),
    ],
)
def test_a_wrong_key_is_named(keys: dict[str, object], message: str) -> None:
    tree = {"train": {"kind": "token_windows", "shards": "x.tar", "length": 16} | keys}
    with pytest.raises(ConfigError, match=message):
        validate(DataOptions, tree, "test")
