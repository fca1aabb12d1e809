"""From what all nodes found to what is wrong, and where: the odd one out is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launch.preflight.links import add_all_together, add_pairs
from launch.preflight.place import Place
from launch.preflight.report import CHECKS, Level, Problem, Result
from launch.preflight.verdict import Verdict

# Checks whose facts may differ without a failure.
_MAY_DIFFER = {"system"}


def judge(place: Place, names: list[str], reports: Mapping[int, Any], outcomes: Mapping[int, Any]) -> Verdict:
    """Put together what all nodes said."""
    verdict = Verdict(names, {rank: {"report"} for rank in reports})
    for rank in range(place.count):
        if rank not in reports:
            verdict.add("FAIL", "report", [rank], _absence(place))
        elif rank not in outcomes:
            verdict.add("FAIL", "report", [rank], "was lost while nodes looked at each other")
    if place.count > 2 and list(reports) == [0]:
        verdict.add("FAIL", "report", [0], "no other node reached this one: it may be the broken one")
    found = {
        rank: {
            check: Result(**result) for check, result in (report | outcomes.get(rank, {}).get("results", {})).items()
        }
        for rank, report in reports.items()
    }
    add_results(verdict, found)
    pairs = {rank: outcome["pairs"] for rank, outcome in outcomes.items() if "pairs" in outcome}
    add_pairs(verdict, {rank: {int(other): item for other, item in met.items()} for rank, met in pairs.items()})
    add_all_together(verdict, {rank: outcome["all"] for rank, outcome in outcomes.items() if "all" in outcome})
    return verdict


def add_results(verdict: Verdict, results: Mapping[int, Mapping[str, Result]]) -> None:
    """What each node found by itself, and what nodes have unlike the others."""
    for check in CHECKS:
        here = {rank: found[check] for rank, found in results.items() if check in found}
        for rank in here:
            verdict.made.setdefault(rank, set()).add(check)
        verdict.add_all("FAIL", check, {rank: result.failures for rank, result in here.items()})
        verdict.add_all("warn", check, {rank: result.warnings for rank, result in here.items()})
        # A check that broke off has no facts, and has said why.
        known = {rank: result.facts for rank, result in here.items() if result.facts or not result.failures}
        _add_odd_ones(verdict, check, known)
        for rank, result in here.items():
            for other in result.figures.get("not seen", []):
                text = f"what it writes to the run folder does not appear on {verdict.names[rank]}"
                verdict.add("FAIL", check, [other], text)


def _absence(place: Place) -> str:
    there = f"node 0 at {place.host}:{place.port}"
    return f"no report in time: it was not started, is down, hangs in its checks, or cannot reach {there}"


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


def _said(value: object) -> str:
    return "missing" if value is None else str(value)
