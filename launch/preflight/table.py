"""The verdict as text, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from launch.preflight.report import CHECKS
from launch.preflight.verdict import Verdict


def as_text(verdict: Verdict, seconds: float) -> str:
    """A line for each node, then a line for each problem, failures first."""
    rows = [["node", *CHECKS]]
    rows += [[name, *(verdict.status(rank, check) for check in CHECKS)] for rank, name in enumerate(verdict.names)]
    lines = aligned(rows)
    problems = sorted(verdict.problems, key=lambda problem: problem.level)
    if problems:
        lines += ["", *(f"{problem.level}  {problem.check}: {problem.text}" for problem in problems)]
    if verdict.speeds:
        lines += ["", *(f"all-reduce by {text}" for text in verdict.speeds)]
    bad = {rank for problem in problems if problem.level == "FAIL" for rank in problem.ranks}
    count = len(verdict.names)
    said = f"{len(bad)} of {count} node(s) with failures" if verdict.has_failed else f"{count} node(s) can train"
    return "\n".join([*lines, "", f"{said}  ({seconds:.1f} s)"])


def as_tree(verdict: Verdict, reports: Mapping[int, Any]) -> dict[str, Any]:
    """Everything that is known, for programs."""
    nodes = [
        {
            "rank": rank,
            "name": name,
            "checks": {check: verdict.status(rank, check) for check in CHECKS},
            "report": reports.get(rank),
        }
        for rank, name in enumerate(verdict.names)
    ]
    problems = [
        {**asdict(problem), "nodes": [verdict.names[rank] for rank in problem.ranks]} for problem in verdict.problems
    ]
    return {"ok": not verdict.has_failed, "nodes": nodes, "problems": problems, "speeds": verdict.speeds}


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
