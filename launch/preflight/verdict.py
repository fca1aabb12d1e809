"""What is wrong, and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from launch.preflight.report import Level, Problem


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

    def add_all(self, level: Level, check: str, texts: Mapping[int, Sequence[str]]) -> None:
        """Note what nodes say: each text once, for all nodes that say it."""
        for text in dict.fromkeys(text for found in texts.values() for text in found):
            self.add(level, check, [rank for rank, found in texts.items() if text in found], text)

    def called(self, ranks: Sequence[int]) -> str:
        """How messages call some nodes."""
        if len(ranks) == len(self.names) > 1:
            return f"all {len(ranks)} nodes"
        return ", ".join(self.names[rank] for rank in ranks)
