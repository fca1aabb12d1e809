from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import torch

from train.options import ProfileOptions
from train.profile import Profile
from train.world import World


def train(profile: Profile, steps: range) -> None:
    for step in steps:
        with profile.step(step):
            torch.ones(step, 64) @ torch.ones(64, 64)
    profile.close()


def shapes(trace: Path) -> list[int]:
    """First sizes of the products in a Chrome trace: the step in which each was computed."""
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    return [event["args"]["Input Dims"][0][0] for event in events if event.get("name") == "aten::mm"]


def test_the_window_and_nothing_else_is_traced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(Profile(ProfileOptions(start=3, steps=2), tmp_path / "profile", World(), step=0), range(1, 8))
    trace, table = sorted((tmp_path / "profile").iterdir())
    assert trace.name.startswith("rank-00000.")
    assert trace.name.endswith(".pt.trace.json.gz")  # what TensorBoard's plugin looks for
    assert shapes(trace) == [3, 4]
    assert table.read_text().startswith("steps 3 to 4 on rank 0")
    assert "aten::mm" in table.read_text()
    assert "aten::mm" in capsys.readouterr().err


def test_a_run_that_ends_in_the_window_keeps_what_there_is(tmp_path: Path) -> None:
    train(Profile(ProfileOptions(start=3, steps=9), tmp_path / "profile", World(), step=0), range(1, 5))
    trace, table = sorted((tmp_path / "profile").iterdir())
    assert shapes(trace) == [3, 4]
    assert table.read_text().startswith("steps 3 to 4 on rank 0")


@pytest.mark.parametrize(
    ("options", "step"),
    [
        (None, 0),
        (ProfileOptions(start=3, steps=2), 3),
        (ProfileOptions(start=3, steps=2), 4),
        (ProfileOptions(start=3, steps=2, ranks=[1]), 0),
    ],
    ids=["not asked for", "goes on within the window", "goes on after it", "another rank"],
)
def test_otherwise_nothing_is_written(options: ProfileOptions | None, step: int, tmp_path: Path) -> None:
    train(Profile(options, tmp_path / "profile", World(), step=step), range(step + 1, 8))
    assert not (tmp_path / "profile").exists()
