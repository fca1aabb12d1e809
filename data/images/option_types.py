"""Types of options: ranges and sizes. YAML writes both as lists."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"expected [low, high], found {list(value)}")
    return value


Range = Annotated[tuple[float, float], BeforeValidator(_as_tuple), AfterValidator(_ordered)]
"A range [low, high]; values are drawn uniformly between the two."

Pixels = Annotated[int, Field(gt=0)]

Size = Annotated[Pixels | tuple[Pixels, Pixels], BeforeValidator(_as_tuple)]
"Pixels of a square's side, or [height, width]."

Probability = Annotated[float, Field(ge=0, le=1)]


def height_and_width(size: Size) -> tuple[int, int]:
    """(height, width) of a `Size`."""
    return size if isinstance(size, tuple) else (size, size)


def require_positive(name: str, value: tuple[float, float], most: float | None = None) -> None:
    """Raise ValueError unless 0 < low and high <= most."""
    if value[0] <= 0 or (most is not None and value[1] > most):
        limits = "above 0" if most is None else f"above 0 and at most {most}"
        raise ValueError(f"{name}: expected values {limits}, found {list(value)}")
