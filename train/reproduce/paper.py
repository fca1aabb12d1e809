"""What a file of `configs/papers/` says: a claim, the runs that test it, and what they must show. Free of torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self, cast

from pydantic import Field, model_validator

from configs.errors import ConfigError
from configs.options import Options, nearest, validate
from configs.recipe import load_tree

FOLDER = Path(__file__).parents[2] / "configs" / "papers"


class Preparation(Options):
    """Shards that the runs read."""

    makes: str = Field(min_length=1)
    "A file that is there once this is done: nothing is done then."
    polytrain: list[str] = Field(min_length=1)
    "The arguments of `polytrain` that make it."


class Figure(Options):
    """A number of a run, out of its metrics.jsonl."""

    key: str = Field(min_length=1)
    "Its key."
    probe: str | None = None
    "The probe that measured it; null: a row of a training step."
    last: int = Field(default=1, gt=0)
    "The mean of so many last rows."
    arms: list[str] | None = None
    "Those that have it; null: all."


class Arm(Options):
    """An arm that starts from a recipe of its own: another modality, another size."""

    recipe: str
    "Instead of the paper's, whose `overrides` are then not its."
    overrides: list[str] = Field(default_factory=list)
    "`key=value`."


class Comparison(Options):
    """What an arm must show against others. With every seed runs are compared that share it."""

    figure: str
    "One of `figures`."
    arm: str
    "One of `arms`."
    baseline: str
    "What it is compared with."
    by: Literal["difference", "ratio", "gap"] = "difference"
    """difference: arm - baseline; ratio: arm / baseline; gap: (arm - baseline) / (reference - baseline), the share of
    the reference's distance that is left."""
    reference: str | None = None
    "Of a gap: the third arm."
    at_most: float | None = None
    "The claim."
    at_least: float | None = None
    "The claim."
    published: str = ""
    "What the authors report, at their scale."

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.by == "gap") != (self.reference is not None):
            raise ValueError("reference: a gap has one, and nothing else does")
        if self.at_most is None and self.at_least is None:
            raise ValueError("at_most, at_least: one of them says what is claimed")
        return self

    @property
    def arms(self) -> list[str]:
        """The arms that it looks at."""
        return [self.arm, self.baseline, *([self.reference] if self.reference else [])]

    @property
    def title(self) -> str:
        """It in a few words."""
        if self.by == "gap":
            return f"{self.figure}: gap of {self.arm} to {self.baseline} / gap of {self.reference}"
        return f"{self.figure}: {self.arm} {'-' if self.by == 'difference' else '/'} {self.baseline}"

    @property
    def claim(self) -> str:
        """What is expected of it."""
        bounds = (self.at_least, "at least"), (self.at_most, "at most")
        return " and ".join(f"{word} {bound:g}" for bound, word in bounds if bound is not None)


class Paper(Options):
    """A published claim, and the runs that test it."""

    title: str
    "Of the paper."
    authors: str
    "As papers cite it: Xi et al."
    year: int
    "Of the paper."
    url: str
    "Where it is."
    claim: str
    "What the authors say, in a sentence or two, and what a small run can show of it."
    recipe: str
    "What arms start from, such as configs/quickstart.yaml."
    overrides: list[str] = Field(default_factory=list)
    "Of all arms: `key=value`."
    arms: dict[str, list[str] | Arm] = Field(min_length=1)
    "The runs to compare, each with its overrides, or with a recipe and overrides."
    seeds: list[int] = Field(default=[0, 1, 2], min_length=1)
    "Every arm is trained with each."
    prepare: list[Preparation] = Field(default_factory=list)
    "Shards that must be there."
    figures: dict[str, Figure] = Field(min_length=1)
    "What is measured of every run."
    comparisons: list[Comparison] = Field(min_length=1)
    "What must hold."
    minutes: float = Field(gt=0)
    "What all runs took on two CPU cores."

    def of_arm(self, name: str) -> tuple[str, tuple[str, ...]]:
        """Its recipe, and all its overrides."""
        arm = self.arms[name]
        return (arm.recipe, tuple(arm.overrides)) if isinstance(arm, Arm) else (self.recipe, (*self.overrides, *arm))

    def arms_of(self, figure: str) -> list[str]:
        """The arms that have a figure."""
        return self.figures[figure].arms or list(self.arms)

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for name, figure in self.figures.items():
            self._require_arms(f"figures.{name}", figure.arms or [])
        for number, comparison in enumerate(self.comparisons):
            where = f"comparisons[{number}]"
            self._require_arms(where, comparison.arms)
            if comparison.figure not in self.figures:
                hint = nearest(comparison.figure, self.figures)
                raise ValueError(f"{where}: unknown figure '{comparison.figure}'; {hint}")
            without = [arm for arm in comparison.arms if arm not in self.arms_of(comparison.figure)]
            if without:
                raise ValueError(f"{where}: figures.{comparison.figure}.arms leaves out '{without[0]}'")
        return self

    def _require_arms(self, where: str, arms: list[str]) -> None:
        for arm in arms:
            if arm not in self.arms:
                raise ValueError(f"{where}: unknown arm '{arm}'; {nearest(arm, self.arms)}")


def papers() -> list[str]:
    """The papers that there are."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_paper(name: str) -> Paper:
    """A paper of `configs/papers/` by its name, or of any YAML file.

    Raises:
        ConfigError: when there is none, or with every problem found in it.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(f"{name}: no such paper; {nearest(name, papers())} Or give the path of a YAML file.")
    return cast(Paper, validate(Paper, load_tree(path), str(path)))
