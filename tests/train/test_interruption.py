from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from train.interruption import SIGNALS, Interruption


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_asks_and_handlers_are_put_back(number: signal.Signals, capfd: pytest.CaptureFixture[str]) -> None:
    before = [signal.getsignal(item) for item in SIGNALS]
    with Interruption() as interruption:
        assert not interruption.is_asked
        os.kill(os.getpid(), number)
        assert interruption.is_asked
        assert interruption.reason == f"{number.name} was received"
    assert [signal.getsignal(item) for item in SIGNALS] == before
    assert f"{number.name}: stopping after this step" in capfd.readouterr().err


def test_time_is_up_when_the_clock_says_so() -> None:
    now = [100.0]
    interruption = Interruption(time_limit_s=5, clock=lambda: now[0])
    assert not interruption.is_asked
    now[0] = 105.0
    assert interruption.is_asked
    assert interruption.reason == "train.time_limit_s is over"


def test_what_another_rank_was_asked_is_called_that() -> None:
    assert Interruption().reason == "another rank was asked to"


_TWICE = """
import os, signal, sys
from train.interruption import Interruption
now = [0.0]
with Interruption(clock=lambda: now[0]):
    os.kill(os.getpid(), signal.SIGTERM)
    now[0] = float(sys.argv[1])
    os.kill(os.getpid(), signal.SIGTERM)
    print("still here")
"""


@pytest.mark.parametrize(("seconds", "code"), [(1.0, 0), (3.0, 128 + signal.SIGTERM)])
def test_a_second_request_leaves_at_once_but_an_echo_of_the_first_does_not(seconds: float, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _TWICE, str(seconds)], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert done.returncode == code
    assert ("still here" in done.stdout) == (code == 0)
