"""From what all nodes found to what is wrong, and where: the odd one out is named."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from launch.preflight.report import CHECKS, Level, Problem, Result

# Of the median of all pairs: half of it may be other jobs on the same switch; a tenth is another kind of network (a
# link that fell back to a lower rate, the wrong interface, TCP in place of RDMA).
_WARN_BELOW = 0.5
_FAIL_BELOW = 0.1

# Checks whose facts may differ without a failure.
_MAY_DIFFER = {"system"}

Pair = tuple[int, int]
"Ranks of two nodes, the lower one first."


@dataclass
class Verdict:
    """What is made of it all."""

    names: list[str]
    "Of all nodes, by rank."
    made: dict[int, set[str]]
    "The checks that were made, by node."
    problems: list[Problem] = field(default_factory=list)
    speeds: list[str] = field(default_factory=list)
    "How fast nodes talk, in words."

    @property
    def has_failed(self) -> bool:
        """Whether training should not start."""
        return any(problem.level == "FAIL" for problem in self.problems)

    def status(self, rank: int, check: str) -> str:
        """One cell of the table: ok, warn, FAIL, or - for what was not checked."""
        levels = {problem.level for problem in self.problems if problem.check == check and rank in problem.ranks}
        if levels:
            return "FAIL" if "FAIL" in levels else "warn"
        return "ok" if check in self.made.get(rank, ()) else "-"

    def add(self, level: Level, check: str, ranks: Sequence[int], text: str) -> None:
        """Note a problem of some nodes; `text` follows their names."""
        self.problems.append(Problem(level, check, tuple(ranks), f"{self.called(ranks)}: {text}"))

    def called(self, ranks: Sequence[int]) -> str:
        """How messages call some nodes."""
        if len(ranks) == len(self.names) > 1:
            return f"all {len(ranks)} nodes"
        return ", ".join(self.names[rank] for rank in ranks)


def add_results(verdict: Verdict, results: Mapping[int, Mapping[str, Result]]) -> None:
    """What each node found by itself, and what nodes have unlike the others."""
    for check in CHECKS:
        here = {rank: found[check] for rank, found in results.items() if check in found}
        for rank in here:
            verdict.made.setdefault(rank, set()).add(check)
        _add_findings(verdict, check, {rank: result.failures for rank, result in here.items()}, "FAIL")
        _add_findings(verdict, check, {rank: result.warnings for rank, result in here.items()}, "warn")
        _add_odd_ones(verdict, check, {rank: result.facts for rank, result in here.items()})
        for rank, result in here.items():
            unseen = result.figures.get("not seen") or []
            for other in unseen:
                text = f"what it writes to the run folder does not appear on {verdict.names[rank]}"
                verdict.add("FAIL", check, [other], text)


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
    found = {rank: [f"all-reduce fails ({item['error']})"] for rank, item in outcomes.items() if "error" in item}
    _add_findings(verdict, "all-reduce", found, "FAIL")
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


def _add_findings(verdict: Verdict, check: str, texts: Mapping[int, Sequence[str]], level: Level) -> None:
    """Each text once, for all nodes that say it."""
    for text in dict.fromkeys(text for found in texts.values() for text in found):
        verdict.add(level, check, [rank for rank, found in texts.items() if text in found], text)


def _add_odd_ones(verdict: Verdict, check: str, facts: Mapping[int, Mapping[str, Any]]) -> None:
    level: Level = "warn" if check in _MAY_DIFFER else "FAIL"
    for name in dict.fromkeys(name for found in facts.values() for name in found):
        said = {rank: found.get(name) for rank, found in facts.items()}
        groups: dict[Any, list[int]] = {}
        for rank, value in said.items():
            groups.setdefault(value, []).append(rank)
        if len(groups) == 1:
            continue
        (value, most), (_, second), *_ = sorted(groups.items(), key=lambda item: -len(item[1]))
        if len(most) == len(second):
            sides = "; ".join(f"{verdict.called(ranks)}: {_said(value)}" for value, ranks in groups.items())
            text = f"{name} differs ({sides}), and no value has a majority"
            verdict.problems.append(Problem(level, check, tuple(said), text))
            continue
        for other, ranks in groups.items():
            if other != value:
                have = "other has" if len(most) == 1 else "others have"
                verdict.add(level, check, ranks, f"{name} {_said(other)}, {len(most)} {have} {_said(value)}")


def _speed(gb_per_s: float, latency_us: float) -> str:
    return f"{gb_per_s:.3g} GB/s (bus), {latency_us:.0f} us for a small message"


def _said(value: object) -> str:
    return "missing" if value is None else str(value)
