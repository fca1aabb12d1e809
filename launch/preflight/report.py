"""What one check of one node found, and what is made of the findings of all nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from configs.errors import UserError
from launch.preflight.limits import limited

CHECKS = (
    "report",
    "versions",
    "system",
    "devices",
    "health",
    "recipe",
    "data",
    "space",
    "shared",
    "clock",
    "pairs",
    "all-reduce",
)
"""The columns of the table, in the order of looking."""

Level = Literal["FAIL", "warn"]


@dataclass
class Result:
    """What one check of one node found. Crosses the network as JSON."""

    facts: dict[str, Any] = field(default_factory=dict)
    "What must be the same on all nodes."
    figures: dict[str, Any] = field(default_factory=dict)
    "What was measured."
    failures: list[str] = field(default_factory=list)
    "Why training would fail here."
    warnings: list[str] = field(default_factory=list)
    "What may be as it should."


@dataclass(frozen=True)
class Problem:
    """Something to mend, and where."""

    level: Level
    check: str
    ranks: tuple[int, ...]
    "The nodes it is about."
    text: str
    "Names them."


def checked(action: Callable[[], Result], seconds: float) -> Result:
    """The result of a check, which may fail in any way: a broken node must still be able to say so."""
    try:
        return limited(action, seconds)
    except TimeoutError as error:
        return Result(failures=[str(error)])
    except (UserError, OSError) as error:
        return Result(failures=[str(error)])
    except Exception as error:  # drivers and libraries of a broken node raise whatever they do
        return Result(failures=[f"{type(error).__name__}: {error}"])


def plain(results: Mapping[str, Result]) -> dict[str, Any]:
    """Results by check, as JSON has them."""
    return {check: asdict(result) for check, result in results.items()}
