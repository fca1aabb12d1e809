"""The checks that nodes make together, over a real store and real process groups; nodes are threads."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from launch.preflight import clock, network
from launch.preflight.exchange import Exchange, NotReached
from launch.preflight.limits import Limit
from launch.preflight.place import Place
from launch.preflight.report import Result
from launch.preflight.shared import shared
from tests.launch.threads import on_nodes


def test_nodes_tell_each_other() -> None:
    def tell(exchange: Exchange) -> dict[int, Any]:
        exchange.put("square", {"of": exchange.rank**2})
        return exchange.take_all("square", range(3), 10.0)

    assert on_nodes(3, tell) == [{rank: {"of": rank**2} for rank in range(3)}] * 3


def test_nobody_waits_for_ever() -> None:
    def ask(exchange: Exchange) -> tuple[dict[int, Any], float]:
        exchange.put("here", True)
        started = time.monotonic()
        return exchange.take_all("here", range(3), 1.0), time.monotonic() - started

    for found, seconds in on_nodes(3, ask, absent=frozenset({1})):
        assert found == {0: True, 2: True}
        assert seconds < 5


def test_a_port_that_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        with pytest.raises(NotReached, match="taken by another process"):
            Exchange(Place(0, 2, "localhost", other.getsockname()[1]), Limit(4.0))


def test_one_node_needs_no_port() -> None:
    exchange = Exchange(Place(), Limit(4.0))
    exchange.put("here", 7)
    assert exchange.take_all("here", [0], 1.0) == {0: 7}
    assert exchange.take("there", 0, 0.1) is None


# Clocks


def _skews(ahead: float) -> list[Result]:
    """What each of three nodes finds, where the clock of node 1 is ahead."""

    def compare(exchange: Exchange) -> Result:
        if exchange.rank == 0:
            clock.answer_all(exchange, [0, 1, 2])
        wrong = ahead if exchange.rank == 1 else 0.0
        return clock.skew(exchange, 10.0, now=lambda: time.time() + wrong)

    return on_nodes(3, compare)


@pytest.mark.parametrize("ahead", [0.0, 7.0, -100.0])
def test_offsets_are_measured_to_within_the_uncertainty(ahead: float) -> None:
    _, other, same = _skews(ahead)
    for result, true in ((other, ahead), (same, 0.0)):
        assert abs(result.figures["offset_s"] - true) <= result.figures["uncertainty_s"] + 1e-5
    assert not same.failures + same.warnings
    assert bool(other.warnings) == (ahead == 7.0)
    assert bool(other.failures) == (ahead == -100.0)


def test_an_uncertain_offset_accuses_nobody() -> None:
    assert not clock.judged(1.5, uncertainty=0.6).warnings
    assert clock.judged(1.5, uncertainty=0.4).warnings == ["the clock is 1.5 s ahead of that of node 0; set it (NTP)"]


# The file system


def _shared(folders: list[Path]) -> list[Result]:
    return on_nodes(len(folders), lambda exchange: shared(exchange, range(len(folders)), folders[exchange.rank], 8.0))


def test_one_folder_for_all(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "new"
    results = _shared([run] * 3)
    assert [result.failures for result in results] == [[], [], []]
    assert results[0].figures["not seen"] == []
    assert not list(tmp_path.iterdir())


def test_a_node_with_a_folder_of_its_own(tmp_path: Path) -> None:
    run, other = tmp_path / "a" / "runs", tmp_path / "b" / "runs"
    run.mkdir(parents=True)
    other.mkdir(parents=True)
    first, same, odd = _shared([run, run, other])
    assert first.failures == same.failures == []
    assert "must be on a file system that all nodes share" in odd.failures[0]
    assert first.figures["not seen"] == [2]


def test_a_folder_that_nobody_can_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    first, second = _shared([tmp_path, tmp_path])
    assert first.failures == [f"{tmp_path} cannot be written: Permission denied"]
    assert second.failures == []
    assert "node 0 could not write" in second.warnings[0]


# The network


def _meet(exchange: Exchange) -> dict[int, dict[str, Any]]:
    return network.meet_all(exchange, range(exchange.count), 5.0, Limit(20.0))


def _exercise(exchange: Exchange, ranks: Sequence[int], seconds: float) -> dict[str, Any]:
    return network.exercise(exchange.connection(), exchange.rank, ranks, seconds)


def test_every_node_meets_every_other_one() -> None:
    for rank, met in enumerate(on_nodes(3, _meet)):
        assert met.keys() == {0, 1, 2} - {rank}
        for outcome in met.values():
            speed = outcome["speeds"]["gloo"]
            assert 0 < speed["latency_us"] < 1e6
            assert 0 < speed["gb_per_s"] < 1000


def test_a_partner_that_never_comes_is_waited_for_no_longer_than_the_limit() -> None:
    started = time.monotonic()
    absent = frozenset({1})
    assert on_nodes(2, lambda exchange: network.meet_all(exchange, [0, 1], 1.0, Limit(2.0)), absent) == [{}]
    assert time.monotonic() - started < 10


def test_a_partner_that_leaves_in_the_middle_is_an_error() -> None:
    def meet(exchange: Exchange) -> dict[str, Any]:
        return _exercise(exchange, [0, 1], 1.0) if exchange.rank == 0 else {}

    outcome = on_nodes(2, meet)[0]
    assert "timeout" in outcome["error"].lower()


def test_all_at_once() -> None:
    for outcome in on_nodes(3, lambda exchange: _exercise(exchange, range(3), 5.0)):
        assert outcome["speeds"]["gloo"]["gb_per_s"] > 0


def test_a_node_that_sends_wrong_numbers_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = network.known_values

    def flipped(numel: int, rank: int) -> torch.Tensor:
        values = right(numel, rank)
        if rank == 1:
            values[numel // 2] += 1
        return values

    monkeypatch.setattr(network, "known_values", flipped)
    for met in on_nodes(2, _meet):
        ((_, outcome),) = met.items()
        assert outcome["error"] == "all-reduce of 8 numbers: 1 of the sums are wrong"


def test_bandwidth_is_that_of_the_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    """4 MiB in 10 ms among 4: 1.5 x 4 MiB cross each link."""

    class Group:
        def size(self) -> int:
            return 4

    monkeypatch.setattr(network, "min_and_median", lambda group, numel, device, repeats: (0.01, 0.02))
    speed = network.measure(Group(), network.Lane("gloo", "cpu"))
    assert speed.gb_per_s == pytest.approx(1.5 * 2**22 / 0.01 / 1e9)
    assert speed.latency_us == pytest.approx(20_000)


def test_gpus_have_lanes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(lane) for lane in network.lanes()] == ["gloo", "nccl cuda:0", "nccl cuda:1"]
