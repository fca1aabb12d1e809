"""Initial values from trained weights, and an account of what was loaded and what was not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from configs.errors import ConfigError
from model.parameters import kinds_of, shapes_of
from model.selectors import filled, matched, select
from model.surgery.edit import Edit, InitialValue, OpenWeights
from model.surgery.options import LoadOptions
from model.surgery.resize import Resize, resizers_of
from model.surgery.weights import WeightSource

_SHOWN = 10


@dataclass(frozen=True)
class Coverage:
    """What a file fills of a model. Names are ours, or renamed to ours."""

    path: str
    loaded: dict[str, str] = field(default_factory=dict)
    "Our name -> the name in the file."
    missing: list[str] = field(default_factory=list)
    "Parameters of the model that the file does not have, and need not."
    unexpected: list[str] = field(default_factory=list)
    "Tensors of the file without a place in the model, as is allowed."
    reshaped: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    "Of those loaded, what is fitted: shape in the file, shape in the model."

    def __str__(self) -> str:
        lines = [f"{self.path}: {len(self.loaded)} of {len(self.loaded) + len(self.missing)} parameters loaded"]
        lines += [f"  reshaped {name}: {theirs} -> {ours}" for name, (theirs, ours) in self.reshaped.items()]
        lines += [f"  not there, so at their initial values: {_first_of(self.missing)}"] if self.missing else []
        lines += [f"  there, but not used: {_first_of(self.unexpected)}"] if self.unexpected else []
        return "\n".join(lines)


class Load(Edit):
    """Parameters start from the tensors of a file, a folder or a run.

    Only initial values are asked of it: a run that has a checkpoint does not open the path.
    """

    def __init__(self, options: LoadOptions, where: str, open_weights: OpenWeights) -> None:
        super().__init__(where)
        self._options = options
        self._open_weights = open_weights
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._kinds: dict[str, frozenset[str]] = {}
        self._resizers: dict[str, Resize] = {}
        self._opened: tuple[WeightSource, Coverage] | None = None

    def apply(self, module: nn.Module) -> None:
        self._shapes = shapes_of(module)
        self._kinds = kinds_of(module)
        self._resizers = resizers_of(module)

    def over(self, below: InitialValue) -> InitialValue:
        def value(name: str, shape: Sequence[int], seed: int) -> Tensor:
            source, coverage = self._open()
            if name not in coverage.loaded:
                return below(name, shape, seed)
            tensor = source.read(coverage.loaded[name]).float()
            return self._resizers[name](tensor, shape[0]) if name in coverage.reshaped else tensor

        return value

    def report(self) -> str:
        return str(self.coverage())

    def coverage(self) -> Coverage:
        """What is loaded and what is not.

        Raises:
            ConfigError: when something is missing, unexpected or of another shape, and that is not allowed.
        """
        return self._open()[1]

    def close(self) -> None:
        self._opened = None

    def _open(self) -> tuple[WeightSource, Coverage]:
        if self._opened is None:
            source = self._open_weights(Path(self._options.path))
            self._opened = source, self._cover(source)
        return self._opened

    def _cover(self, source: WeightSource) -> Coverage:
        options = self._options
        theirs = _renamed(source.shapes, options, f"{self.where}.rename")
        loaded = {ours: theirs[ours] for ours in self._shapes if ours in theirs}
        shapes = {ours: (tuple(source.shapes[name]), self._shapes[ours]) for ours, name in loaded.items()}
        differing = {name: pair for name, pair in shapes.items() if pair[0] != pair[1]}
        misfits = [
            f"{name}: {there} there, {here} here"
            for name, (there, here) in differing.items()
            if not (options.resize and name in self._resizers and there[1:] == here[1:])
        ]
        missing = [name for name in self._shapes if name not in theirs]
        unexpected = [name for name in theirs if name not in self._shapes]
        where = f"{self.where}.allow_missing", f"{self.where}.allow_unexpected"
        allowed_missing = set(select(options.allow_missing or (), self._shapes, where[0], self._kinds))
        allowed_unexpected = set(select(options.allow_unexpected or (), theirs, where[1]))
        self._refuse(
            {
                "missing there": [name for name in missing if name not in allowed_missing],
                "not in this model": [name for name in unexpected if name not in allowed_unexpected],
                "of another shape": misfits,
            }
        )
        return Coverage(options.path, loaded, missing, unexpected, differing)

    def _refuse(self, problems: dict[str, list[str]]) -> None:
        lines = [f"  {len(names)} {what}: {_first_of(names)}" for what, names in problems.items() if names]
        if lines:
            raise ConfigError(
                "\n".join(
                    [
                        f"{self.where} (load {self._options.path}): does not fit the model:",
                        *lines,
                        "Change the model or `rename`; or allow it with allow_missing, allow_unexpected or resize.",
                    ]
                )
            )


def _renamed(names: Iterable[str], options: LoadOptions, where: str) -> dict[str, str]:
    """Our name -> the name in the file."""
    found: dict[str, str] = {}
    for name in names:
        ours = next(
            (
                filled(target, texts)
                for pattern, target in options.rename.items()
                if (texts := matched(pattern, name)) is not None
            ),
            name,
        )
        if ours in found:
            raise ConfigError(f"{where}: {found[ours]} and {name} would both be {ours}.")
        found[ours] = name
    return found


def _first_of(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
