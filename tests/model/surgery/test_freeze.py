from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from configs.errors import ConfigError

Make = Callable[..., Any]


def test_the_last_edit_that_names_a_parameter_holds(whole_of: Make, operate: Make) -> None:
    whole = whole_of(bias=True, norm="layer")
    operate(
        whole,
        {"kind": "freeze", "select": "transformer.**"},
        {"kind": "unfreeze", "select": ["transformer.blocks.1.**", "!@bias"]},
    )
    for name, parameter in whole.named_parameters():
        expected = not name.startswith("transformer.") or (".blocks.1." in name and not name.endswith("bias"))
        assert parameter.requires_grad == expected, name


def test_freezing_everything_is_refused(whole_of: Make, operate: Make) -> None:
    freeze = {"kind": "freeze", "select": "**"}
    with pytest.raises(ConfigError, match="surgery: everything is frozen"):
        operate(whole_of(), freeze)
    operate(whole_of(), freeze, {"kind": "lora", "select": "**.query", "rank": 1, "alpha": 1.0})
