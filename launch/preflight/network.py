"""All-reduce between nodes, two at a time and all together: right values, and how fast.

Pairs meet as in a round-robin tournament: in every round each node has another partner, so N nodes are through in N-1
rounds. Every pair has process groups of its own, made as training makes them (gloo, and NCCL where there are GPUs): a
node that cannot be reached costs its partners a time limit each and nothing else.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import PrefixStore, Store

from launch.preflight.exchange import Exchange
from launch.preflight.limits import Limit, limited

_SMALL_NUMEL = 8
_LARGE_BYTES = {"gloo": 2**22, "nccl": 2**28}
_SMALL_REPEATS = 10
_LARGE_REPEATS = 5

# A node that has reached none of so many partners makes the others wait no longer.
_GIVES_UP_AFTER = 3

_HERE, _GONE = "here", "gone"


@dataclass(frozen=True)
class Lane:
    """What messages travel by."""

    backend: str
    device: str

    def __str__(self) -> str:
        return self.backend if self.device == "cpu" else f"{self.backend} {self.device}"


@dataclass(frozen=True)
class Speed:
    """All-reduce by one lane."""

    latency_us: float
    "Median time of a small message."
    gb_per_s: float
    "Bus bandwidth of a large message, 2 (n - 1) / n x bytes / seconds, as nccl-tests count it."


class WrongValues(ValueError):
    """A sum that is not the sum."""


def lanes() -> list[Lane]:
    """gloo, which carries what is on the host; and NCCL for each GPU of this node."""
    return [Lane("gloo", "cpu"), *(Lane("nccl", f"cuda:{number}") for number in range(torch.cuda.device_count()))]


def rounds(count: int) -> Iterator[list[tuple[int, int]]]:
    """Pairs of 0 ... count - 1, round by round (the circle method); of an odd number, one rests in each."""
    players: list[int | None] = [*range(count), *([None] if count % 2 else [])]
    for _ in range(len(players) - 1):
        half = len(players) // 2
        pairs = zip(players[:half], reversed(players[half:]), strict=True)
        yield [(min(a, b), max(a, b)) for a, b in pairs if a is not None and b is not None]
        players = [players[0], players[-1], *players[1:-1]]


def meet_all(
    exchange: Exchange, members: Sequence[int], pair_seconds: float, limit: Limit
) -> dict[int, dict[str, Any]]:
    """Exercise this node with every other one, as far as the time goes.

    Returns:
        By partner: {"speeds": {lane: Speed}}, {"error": text}, or nothing for one that was not met.
    """
    met: dict[int, dict[str, Any]] = {}
    store = exchange.connection()
    for number, pairs in enumerate(rounds(len(members))):
        pair = next((pair for pair in pairs if exchange.rank in (members[pair[0]], members[pair[1]])), None)
        if pair is None:
            continue
        ranks = (members[pair[0]], members[pair[1]])
        partner = ranks[0] if ranks[1] == exchange.rank else ranks[1]
        has_given_up = len(met) >= _GIVES_UP_AFTER and all("error" in item for item in met.values())
        exchange.put(f"round-{number}", _GONE if has_given_up else _HERE)
        if has_given_up or exchange.take(f"round-{number}", partner, limit.left(0.8)) != _HERE:
            continue
        met[partner] = exercise(PrefixStore(f"round-{number}", store), exchange.rank, ranks, pair_seconds)
        if "error" in met[partner]:
            # What was left behind may still wait for an answer on this one.
            store = exchange.connection()
    return met


def without_broken_pairs(missed: Mapping[int, Sequence[int]]) -> list[int]:
    """Nodes of which any two reach each other, where `missed` has the partners that each one did not reach.

    Whoever is in most of the broken pairs is left out first.
    """
    left = list(missed)
    broken = {frozenset((rank, partner)) for rank in missed for partner in missed[rank] if partner in missed}
    while broken:
        ((worst, _),) = Counter(rank for pair in broken for rank in pair).most_common(1)
        left.remove(worst)
        broken = {pair for pair in broken if worst not in pair}
    return left


def exercise(store: Store, rank: int, ranks: Sequence[int], seconds: float) -> dict[str, Any]:
    """All-reduce among some nodes by every lane: {"speeds": {lane: Speed}} or {"error": text}.

    Args:
        store: through which they find each other; nobody else's.
        rank: this node.
        ranks: of all of them.
        seconds: after which it is an error.
    """

    def run() -> dict[str, Any]:
        speeds = {}
        for backend in dict.fromkeys(lane.backend for lane in lanes()):
            place = PrefixStore(f"{backend}/{'-'.join(map(str, ranks))}", store)
            group = _group(backend, place, ranks.index(rank), len(ranks), seconds)
            for lane in (lane for lane in lanes() if lane.backend == backend):
                speeds[str(lane)] = asdict(measure(group, lane))
        return {"speeds": speeds}

    try:
        # The groups have the same limit, but not for everything they do.
        return limited(run, 2 * seconds)
    except Exception as error:  # torch, NCCL and the driver raise whatever they do; the other nodes must learn of it
        return {"error": _first_line(error)}


def measure(group: Any, lane: Lane) -> Speed:
    """Check and time all-reduce of a small and a large message in a group.

    Raises:
        WrongValues: when a sum is wrong.
        RuntimeError: when somebody does not answer in time.
    """
    device = torch.device(lane.device)
    small = min_and_median(group, _SMALL_NUMEL, device, _SMALL_REPEATS)[1]
    large_bytes = _LARGE_BYTES[lane.backend]
    large = min_and_median(group, large_bytes // 4, device, _LARGE_REPEATS)[0]
    size = group.size()
    return Speed(small * 1e6, 2 * (size - 1) / size * large_bytes / large / 1e9)


def min_and_median(group: Any, numel: int, device: torch.device, repeats: int) -> tuple[float, float]:
    """Least and median seconds of all-reduces of float32 whose values are known, after one that is not timed."""
    values = known_values(numel, group.rank()).to(device)
    expected = known_sum(numel, group.size()).to(device)
    took = []
    for _ in range(1 + repeats):
        summed = values.clone()
        _synchronize(device)
        started = time.perf_counter()
        group.allreduce([summed]).wait()
        _synchronize(device)
        took.append(time.perf_counter() - started)
        if not torch.equal(summed, expected):
            raise WrongValues(f"all-reduce of {numel} numbers: {int((summed != expected).sum())} of the sums are wrong")
    return min(took[1:]), statistics.median(took[1:])


def known_values(numel: int, rank: int) -> Tensor:
    """Small whole numbers, which float32 adds exactly in any order; other ones at every place and rank."""
    return (torch.arange(numel) % 251 + rank).float()


def known_sum(numel: int, size: int) -> Tensor:
    """The sum of `known_values` over ranks."""
    return (size * (torch.arange(numel) % 251) + size * (size - 1) // 2).float()


def _group(backend: str, store: Store, rank: int, size: int, seconds: float) -> Any:
    timeout = timedelta(seconds=seconds)
    if backend == "gloo":
        return dist.ProcessGroupGloo(store, rank, size, timeout)
    options = dist.ProcessGroupNCCL.Options()
    options._timeout = timeout
    return dist.ProcessGroupNCCL(store, rank, size, options)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
