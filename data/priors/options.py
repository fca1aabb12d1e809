"""Options of every prior. They import nothing of the generators, so recipes are checked quickly."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from configs.options import Part
from data.transforms import AnyTransform


class PriorOptions(Part):
    """What all priors have."""

    seed: int = Field(default=0, ge=0)
    "Decides the samples. Held-out samples are those of another seed."
    size: int = Field(default=1_000_000, gt=0)
    "Samples of one epoch; later epochs repeat them in another order."


class LinearRegressionOptions(PriorOptions):
    """Points of noisy linear functions y = w.x + noise (Raventos et al. 2023)."""

    kind: Literal["linear_regression"] = "linear_regression"
    dim: int = Field(default=8, gt=0)
    "Dimensions D of x."
    points: int = Field(default=16, gt=0)
    "Points K of one sample."
    tasks: int = Field(default=0, ge=0)
    "Weight vectors M that samples choose from; 0 draws a fresh one for every sample."
    pool_seed: int = Field(default=0, ge=0)
    "Decides the pool. Held-out points of the same tasks: the same pool_seed, another seed."
    noise_std: float = Field(default=0.5, ge=0)
    "Standard deviation of the noise on y."

    builds: ClassVar[str] = "data.priors.linear_regression:LinearRegression"


class TableOptions(PriorOptions):
    """Classification tables of a fixed number of rows and, within limits, of random columns and classes."""

    rows: int = Field(default=256, ge=2)
    "Rows R of every table."
    min_features: int = Field(default=3, gt=0)
    "Fewest feature columns."
    max_features: int = Field(default=20, gt=0)
    "Most feature columns; narrower tables are padded with zeros to this width C."
    min_classes: int = Field(default=2, ge=2)
    "Fewest classes asked for. A table whose target has many ties may come out with fewer."
    max_classes: int = Field(default=10, ge=2)
    "Most classes."
    categorical: float = Field(default=0.2, ge=0, le=1)
    "Probability that a table has categorical columns; a random share of its columns is then made so."
    missing: float = Field(default=0.0, ge=0, lt=1)
    "Largest share of cells that are missing (NaN); each table draws its own share below it."
    transforms: list[AnyTransform] = Field(default_factory=list)
    "Applied to each table, in this order: context_split says which rows are known."

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        _check_range(self, "min_features", "max_features")
        _check_range(self, "min_classes", "max_classes")
        return self


class StructuralCausalOptions(TableOptions):
    """Tables from random networks read as structural causal models (Hollmann et al. 2023)."""

    kind: Literal["structural_causal"] = "structural_causal"
    causal: float = Field(default=0.5, ge=0, le=1)
    "Probability that features and target are random nodes; else features are the inputs, the target the output."
    min_layers: int = Field(default=2, gt=0)
    "Fewest layers of the network."
    max_layers: int = Field(default=6, gt=0, le=32)
    "Most layers."
    min_width: int = Field(default=4, gt=0)
    "Least nodes of a layer; widened where features and target would not fit."
    max_width: int = Field(default=32, gt=0)
    "Most nodes of a layer."
    max_causes: int = Field(default=12, ge=2)
    "Most root causes of a causal table; at least 2 are drawn."
    weight_std: float = Field(default=3.0, gt=0, le=100)
    "Largest standard deviation of the weights, in units of 1/sqrt(inputs of a node)."
    sparsity: float = Field(default=0.6, ge=0, lt=1)
    "Largest share of edges left out."
    noise_std: float = Field(default=0.3, ge=0, le=100)
    "Largest standard deviation of the noise on every node; small values are the likelier ones."

    builds: ClassVar[str] = "data.priors.structural_causal:StructuralCausal"

    @model_validator(mode="after")
    def _check_network(self) -> Self:
        _check_range(self, "min_layers", "max_layers")
        _check_range(self, "min_width", "max_width")
        return self


class ForestOptions(TableOptions):
    """Tables labelled by decision trees fitted to noise (den Breejen et al. 2024)."""

    kind: Literal["forest"] = "forest"
    categorical: float = Field(default=1.0, ge=0, le=1)
    "Probability that a table has categorical columns; a random share of its columns is then made so."
    base_rows: int = Field(default=1024, ge=2)
    "Rows of noise that each tree is fitted to; more make finer boundaries."
    min_depth: int = Field(default=1, gt=0)
    "Least depth limit of the trees of a table."
    max_depth: int = Field(default=24, gt=0, le=64)
    "Greatest depth limit."
    trees: int = Field(default=1, gt=0)
    "Trees averaged in one table."
    candidates: int = Field(default=2, gt=0)
    "Random features tried at each node; the best cut of them is taken."

    builds: ClassVar[str] = "data.priors.forest:Forest"

    @model_validator(mode="after")
    def _check_depth(self) -> Self:
        _check_range(self, "min_depth", "max_depth")
        return self


class BanditOptions(PriorOptions):
    """Logged pulls of Gaussian bandits, and the best arm (Lee et al. 2023)."""

    kind: Literal["bandit"] = "bandit"
    arms: int = Field(default=5, ge=2)
    "Arms A, with means drawn uniformly from [0, 1)."
    horizon: int = Field(default=500, gt=0)
    "Logged pulls H."
    reward_std: float = Field(default=0.3, ge=0)
    "Standard deviation of a reward around the mean of its arm."

    builds: ClassVar[str] = "data.priors.bandits:Bandit"


class StringOptions(PriorOptions):
    """Questions and answers as tokens, packed one after the other."""

    length: int = Field(gt=0)
    "Input tokens per sequence L."

    @property
    def vocab_size(self) -> int:
        """Token ids that occur; the least `model.vocab_size`."""
        raise NotImplementedError


class LetterOptions(StringOptions):
    """Strings over an alphabet."""

    letters: int = Field(default=26, ge=2)
    "Size of the alphabet."
    min_string: int = Field(default=5, gt=0)
    "Letters of the shortest string."
    max_string: int = Field(default=20, gt=0)
    "Letters of the longest string."

    @model_validator(mode="after")
    def _check_strings(self) -> Self:
        _check_range(self, "min_string", "max_string")
        return self

    @property
    def vocab_size(self) -> int:
        """Three marks and the letters."""
        return 3 + self.letters


class CopyOptions(LetterOptions):
    """Copying: `$ string | string .` (Jelassi et al. 2024)."""

    kind: Literal["copy"] = "copy"

    builds: ClassVar[str] = "data.priors.strings:Copy"


class RecallOptions(LetterOptions):
    """Recall: what follows a key, which occurs once in a string (Jelassi et al. 2024)."""

    kind: Literal["recall"] = "recall"
    key: Literal["before", "after"] = "after"
    "Whether the key is shown before the string, `$ key | string | answer .`, or after, `$ string | key answer .`."
    key_letters: int = Field(default=2, gt=0)
    "Letters of the key."
    answer_letters: int = Field(default=3, gt=0)
    "Letters asked for: those that follow the key."

    builds: ClassVar[str] = "data.priors.strings:Recall"

    @model_validator(mode="after")
    def _check_key(self) -> Self:
        if self.key_letters + self.answer_letters > self.min_string:
            raise ValueError(
                f"key_letters {self.key_letters} and answer_letters {self.answer_letters} do not fit into a string "
                f"of min_string {self.min_string}; lower them or raise min_string"
            )
        # Fewer keys than places: hardly any key would occur only once.
        if not self.max_string <= self.letters**self.key_letters < 2**63:
            raise ValueError(
                f"{self.letters} letters make {self.letters**self.key_letters} keys of {self.key_letters}; expected "
                f"at least max_string {self.max_string} and less than 2^63; change letters or key_letters"
            )
        return self


class AdditionOptions(StringOptions):
    """Addition: `$ a + b | sum .` in decimal digits (Lee et al. 2025)."""

    kind: Literal["addition"] = "addition"
    min_digits: int = Field(default=1, gt=0)
    "Digits of the shortest operand."
    max_digits: int = Field(default=8, gt=0, le=1000)
    "Digits of the longest operand; both operands draw their own number."
    reverse: bool = True
    "Write operands and sum with the least significant digit first."

    builds: ClassVar[str] = "data.priors.strings:Addition"

    @model_validator(mode="after")
    def _check_digits(self) -> Self:
        _check_range(self, "min_digits", "max_digits")
        return self

    @property
    def vocab_size(self) -> int:
        """Three marks, ten digits and the plus sign."""
        return 14


AnyPrior = (
    LinearRegressionOptions
    | StructuralCausalOptions
    | ForestOptions
    | BanditOptions
    | CopyOptions
    | RecallOptions
    | AdditionOptions
)


def _check_range(options: PriorOptions, low: str, high: str) -> None:
    if getattr(options, low) > getattr(options, high):
        raise ValueError(f"{low} {getattr(options, low)} is above {high} {getattr(options, high)}; change one")
