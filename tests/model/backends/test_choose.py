"""Which backend is chosen, and what is said of the others."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from configs.errors import ConfigError
from model.backends.backend import BACKENDS, Request, choose, explain, named
from model.mixers.mixer import visible
from model.visibility import Causal, Dilated, NotPadding, Places, Prefix, Visibility, Window

SHORT, LONG = Places(torch.arange(64)[None]), Places(torch.arange(2048)[None])
CUDA = torch.device("cuda")


def request(rule: Visibility = Causal(), key: Places = SHORT, query: Places | None = None, **more: Any) -> Request:  # noqa: B008
    base = Request(rule, query or key, key, torch.device("cpu"), torch.float32, head_width=64)
    return dataclasses.replace(base, **more)


@pytest.fixture
def flash_on_ampere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.backends.flash._is_installed", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (8, 0))


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (request(), "sdpa"),
        (request(Causal() & Window(8, 0)), "sdpa"),
        (request(Causal() & Window(8, 0), LONG), "gather"),
        (request(Causal() & Window(8, 0), LONG, has_bias=True), "sdpa"),
        (request(Causal() & Window(1000, 0), LONG), "sdpa"),
        (request(Causal() & Window(8, 0), LONG, softcap=1.0), "gather"),
        (request(softcap=1.0), "reference"),
        (request(needs_grad=False), "sdpa"),
        (request(device=CUDA), "flex"),
        (request(device=CUDA, dropout=0.1), "sdpa"),
        (request(device=CUDA, head_width=8), "sdpa"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_auto_takes_the_first_that_can_and_pays(asked: Request, chosen: str) -> None:
    assert choose("auto", asked).name == chosen
    said = explain(asked)
    assert list(said) == list(BACKENDS)
    assert [name for name, what in said.items() if what == "chosen"] == [chosen]


@pytest.mark.usefixtures("flash_on_ampere")
@pytest.mark.parametrize(
    ("changes", "chosen"),
    [({}, "flash"), ({"dtype": torch.float32}, "flex"), ({"rule": Dilated(2)}, "flex"), ({"head_width": 264}, "flex")],
    ids=["plain", "float32", "rule", "wide"],
)
def test_auto_takes_flash_where_it_can(changes: dict[str, Any], chosen: str) -> None:
    half = request(device=CUDA, dtype=torch.bfloat16)
    assert choose("auto", dataclasses.replace(half, **changes)).name == chosen


OBJECTIONS: list[tuple[str, dict[str, Any], str]] = [
    ("flash", {}, "CUDA, not on cpu"),
    ("flash", {"device": CUDA}, "float16 or bfloat16, found float32"),
    ("flash", {"device": CUDA, "dtype": torch.float16, "head_width": 512}, "heads up to 256 wide, found 512"),
    ("flash", {"device": CUDA, "dtype": torch.float16, "has_bias": True}, "no bias"),
    ("flash", {"device": CUDA, "dtype": torch.float16, "softcap": 1.0, "dropout": 0.1}, "no dropout together"),
    (
        "flash",
        {"device": CUDA, "dtype": torch.float16, "rule": Causal() & Dilated(3)},
        r"no word for Dilated\(step=3\)",
    ),
    ("flash", {"device": CUDA, "dtype": torch.float16, "rule": Causal() | Prefix()}, "no word for"),
    ("flash", {"device": CUDA, "dtype": torch.float16, "rule": NotPadding()}, "needs segment numbers"),
    ("flash", {"device": CUDA, "dtype": torch.float16, "query": LONG}, "the last tokens of the keys"),
    ("flex", {}, "no backward on CPU"),
    ("flex", {"needs_grad": False, "dropout": 0.1}, "no dropout"),
    ("flex", {"device": torch.device("mps")}, "not on mps"),
    ("flex", {"device": CUDA, "head_width": 8}, "head width of at least 16"),
    ("flex", {"device": CUDA, "dtype": torch.float64}, "no float64"),
    ("gather", {}, "bounds how far a token sees"),
    ("gather", {"rule": Window(2, 2), "has_bias": True}, "no bias"),
    ("gather", {"rule": Window(2, 2), "query": LONG}, "not decoding or cross-attention"),
    ("sdpa", {"softcap": 1.0}, "no softcap"),
]


@pytest.mark.usefixtures("flash_on_ampere")
@pytest.mark.parametrize(("name", "changes", "objection"), OBJECTIONS, ids=[f"{n}-{o[:18]}" for n, _, o in OBJECTIONS])
def test_a_named_backend_that_cannot_says_why_and_what_the_others_say(
    name: str, changes: dict[str, Any], objection: str
) -> None:
    asked = request(**changes)
    with pytest.raises(ConfigError, match=objection) as caught:
        choose(name, asked)
    for other, said in explain(asked).items():
        assert other == name or f"{other}: {said}" in str(caught.value)


def test_flash_is_named_where_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.backends.flash._is_installed", lambda: False)
    with pytest.raises(ConfigError, match=r"model\.backend=flash: flash needs the package flash-attn"):
        choose("flash", request())


def test_older_devices_are_objected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.backends.flash._is_installed", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (7, 5))
    assert named("flash").objection(request(device=CUDA, dtype=torch.float16)) == (
        "flash needs an Ampere GPU or a newer one"
    )


def test_a_named_backend_does_what_auto_would_not() -> None:
    window = Causal() & Window(8, 0)
    assert choose("gather", request(window)).name == "gather"
    assert "twice as long" in explain(request(window))["gather"]


def test_under_autocast_the_backend_is_asked_for_the_lower_precision() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert visible("auto", Causal(), SHORT, SHORT, torch.zeros(1, 64, 8)).request.dtype == torch.bfloat16
    assert visible("auto", Causal(), SHORT, SHORT, torch.zeros(1, 64, 8)).request.dtype == torch.float32
