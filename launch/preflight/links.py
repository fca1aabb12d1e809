"""What all-reduce of pairs, and of all, says of nodes and of the links between them."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping
from typing import Any

from launch.preflight.report import Level
from launch.preflight.verdict import Verdict

# Of the median of all pairs: half of it may be other jobs on the same switch; a tenth is another kind of network (a
# link that fell back to a lower rate, the wrong interface, TCP in place of RDMA).
_WARN_BELOW = 0.5
_FAIL_BELOW = 0.1

Pair = tuple[int, int]
"Ranks of two nodes, the lower one first."


def add_pairs(verdict: Verdict, met: Mapping[int, Mapping[int, Mapping[str, Any]]]) -> None:
    """What nodes found two at a time. `met[a][b]` is what `a` says of its meeting with `b`."""
    errors: dict[Pair, str] = {}
    speeds: dict[str, dict[Pair, float]] = {}
    latencies: dict[str, list[float]] = {}
    tried: set[Pair] = set()
    for a, partners in met.items():
        verdict.made.setdefault(a, set()).add("pairs")
        for b, outcome in partners.items():
            pair = (min(a, b), max(a, b))
            tried.add(pair)
            if "error" in outcome:
                errors.setdefault(pair, outcome["error"])
            for lane, speed in outcome.get("speeds", {}).items():
                seen = speeds.setdefault(lane, {})
                seen[pair] = min(seen.get(pair, speed["gb_per_s"]), speed["gb_per_s"])
                latencies.setdefault(lane, []).append(speed["latency_us"])
    _add_errors(verdict, errors, Counter(rank for pair in tried for rank in pair))
    for lane, seen in speeds.items():
        _add_slow(verdict, lane, {pair: value for pair, value in seen.items() if pair not in errors})
        of_pairs = _speed(statistics.median(seen.values()), statistics.median(latencies[lane]))
        verdict.speeds.append(f"{lane}, {len(seen)} pair(s), median: {of_pairs}")
    possible = len(met) * (len(met) - 1) // 2
    if len(tried) < possible and not errors:
        text = f"{possible - len(tried)} of {possible} pairs were not tried: the time was over; raise --timeout"
        verdict.add("warn", "pairs", list(met), text)


def add_all_together(verdict: Verdict, outcomes: Mapping[int, Mapping[str, Any]]) -> None:
    """What nodes found in one all-reduce of all that answer."""
    for rank in outcomes:
        verdict.made.setdefault(rank, set()).add("all-reduce")
    errors = {rank: item["error"] for rank, item in outcomes.items() if "error" in item}
    if errors:
        # One that fails makes all fail, each with words of its own.
        text = f"all-reduce of {len(outcomes)} nodes fails ({next(iter(errors.values()))})"
        verdict.add("FAIL", "all-reduce", list(errors), text)
    speeds = [item.get("speeds", {}) for item in outcomes.values()]
    for lane in dict.fromkeys(lane for found_speeds in speeds for lane in found_speeds):
        slowest = min((item[lane] for item in speeds if lane in item), key=lambda item: item["gb_per_s"])
        of_all = _speed(slowest["gb_per_s"], slowest["latency_us"])
        verdict.speeds.append(f"{lane}, {len(speeds)} nodes together: {of_all}")


def _add_errors(verdict: Verdict, errors: Mapping[Pair, str], tried: Mapping[int, int]) -> None:
    counts = Counter(rank for pair in errors for rank in pair)
    # Whoever fails with most of its partners is the one; with a single partner, nobody can say which of the two.
    broken = [rank for rank, count in sorted(counts.items()) if count > 1 and count > tried[rank] / 2]
    for rank in broken:
        text = next(error for pair, error in errors.items() if rank in pair)
        what = f"all-reduce with {counts[rank]} of {tried[rank]} other nodes fails ({text})"
        verdict.add("FAIL", "pairs", [rank], what)
    for pair, text in errors.items():
        if not set(pair) & set(broken):
            verdict.add("FAIL", "pairs", pair, f"all-reduce between them fails ({text})")


def _add_slow(verdict: Verdict, lane: str, pairs: Mapping[Pair, float]) -> None:
    """Nodes whose pairs are slow, then single slow pairs of other nodes."""
    ranks = sorted({rank for pair in pairs for rank in pair})
    if len(ranks) < 3:
        return  # no majority
    # The upper median: of three nodes, a slow one makes half of the pairs of the others slow.
    of_node = {rank: statistics.median_high(value for pair, value in pairs.items() if rank in pair) for rank in ranks}
    middle = statistics.median_high(of_node.values())
    slow = {rank for rank, value in of_node.items() if value < _WARN_BELOW * middle}
    alone = {pair: value for pair, value in pairs.items() if value < _WARN_BELOW * middle and not set(pair) & slow}
    found = [((rank,), of_node[rank], "with others") for rank in slow]
    for where, value, whom in (*found, *((pair, value, "between them") for pair, value in alone.items())):
        level: Level = "FAIL" if value < _FAIL_BELOW * middle else "warn"
        text = f"{lane}: {value:.3g} GB/s {whom}, {value / middle:.0%} of the median ({middle:.3g} GB/s)"
        verdict.add(level, "pairs", where, text)


def _speed(gb_per_s: float, latency_us: float) -> str:
    return f"{gb_per_s:.3g} GB/s (bus), {latency_us:.0f} us for a small message"
