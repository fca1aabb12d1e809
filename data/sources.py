"""The options of everything that samples come from, put together; `build_source`.

Each modality keeps its options in its own `options.py` (free of heavy imports); each names the class that it builds.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import Field, model_validator

from configs.errors import ConfigError
from configs.options import Kind, Options, Part, construct, validate
from configs.recipe import load_tree
from data.cache import CacheOptions
from data.hugging_face import HuggingFaceOptions
from data.order_options import OrderOptions
from data.priors.options import AnyPrior
from data.sample import Source
from data.shard_names import ShardNames
from data.storage import DirectStorage, Storage, StoredPart, is_url
from data.tables.options import AnyTableSource
from data.text.options import AnyText
from data.text.tokenizer import END_OF_TEXT
from data.transforms import AnyTransform, Transformed

_REMOTE_THREADS = 32


class SamplesOptions(StoredPart):
    """The samples of webdataset shards, decoded by the extensions of their members."""

    kind: Literal["samples"] = "samples"
    shards: ShardNames
    "Shard names: paths or URLs, globs and braces, such as shards/photos/train-{000000..000031}.tar."
    fields: dict[str, str] | None = Field(default=None, min_length=1)
    "Field -> member, such as {image: jpg;png, label: cls, caption: json:caption, bytes: jpg:raw}. Null: every member."
    transforms: list[AnyTransform] = Field(default_factory=list)
    "Applied to each sample, in this order."

    builds: ClassVar[str] = "data.samples:Samples"


PlainSource = Annotated[AnyText | SamplesOptions | AnyTableSource | HuggingFaceOptions | AnyPrior, Kind()]
"Any source but a mixture."


class MixturePart(Options):
    """One part of a mixture."""

    source: PlainSource
    "Its samples."
    weight: float = Field(default=1.0, ge=0)
    "How often it is drawn, relative to the others."


class MixtureStage(Options):
    """Other weights from a step on."""

    step: int = Field(gt=0)
    "Steps already taken when these weights begin."
    weights: dict[str, float]
    "The weight of every part."


class MixtureOptions(StoredPart):
    """Several sources in exact proportions, which may change with the step."""

    kind: Literal["mixture"] = "mixture"
    parts: dict[str, MixturePart] = Field(min_length=1)
    "The parts by name."
    alpha: float | None = Field(default=None, ge=0, le=2)
    "Multiply the weights by size^alpha (Conneau et al. 2020, XLM-R: 0.3). Null leaves the sizes out."
    block: int = Field(default=1024, gt=0)
    "Rows in which the proportions hold exactly (rounded to whole rows)."
    stages: list[MixtureStage] = Field(default_factory=list)
    "A curriculum: other weights from later steps on."

    builds: ClassVar[str] = "data.mixture:Mixture"

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        for where, weights in [
            ("parts", {name: part.weight for name, part in self.parts.items()}),
            *((f"stages (step {stage.step})", stage.weights) for stage in self.stages),
        ]:
            if weights.keys() != self.parts.keys():
                raise ValueError(f"{where}: names {', '.join(weights)}, the parts are {', '.join(self.parts)}")
            if min(weights.values()) < 0 or not sum(weights.values()) > 0:
                raise ValueError(f"{where}: weights must not be negative, and one must be above 0: {weights}")
        steps = [stage.step for stage in self.stages]
        if len(set(steps)) != len(steps):
            raise ValueError(f"stages: the same step twice: {steps}")
        return self


AnySource = Annotated[
    AnyText | SamplesOptions | AnyTableSource | HuggingFaceOptions | MixtureOptions | AnyPrior, Kind()
]


class DataOptions(Options):
    """What is read, and how."""

    train: AnySource
    "The samples trained on."
    validation: AnySource | None = None
    "Held-out samples, for probes."
    order: OrderOptions = OrderOptions()
    "In which order samples are drawn."
    cache: CacheOptions | None = None
    "Copies of shards on a local disk, for shards that are far away. Null reads them where they lie."
    tokenizer: str | None = None
    "A tokenizer.json, for probes, generation and export of text models."
    end_of_text: str = END_OF_TEXT
    "The token that ends a document: name it where the tokenizer was made by others, such as </s> or [SEP]."
    workers: int = Field(default=0, ge=0)
    "Loader processes per rank; 0 loads in a thread of the training process."
    prefetch: int = Field(default=8, gt=0)
    "Steps loaded ahead, over all workers. Lower it where a batch is so large that eight do not fit in memory."
    threads: int | None = Field(default=None, gt=0)
    "Samples that one worker reads at the same time. Default: 32 where shards are behind URLs, else 1."
    bad_samples: int = Field(default=100, ge=0)
    "Times that a rank may replace a damaged sample by its neighbour since its start. One more stops the run."


def plain_sources(options: AnySource) -> dict[str, Part]:
    """The sources behind `options`, by their key below it ("" where it is one itself)."""
    if isinstance(options, MixtureOptions):
        return {f".parts.{name}.source": part.source for name, part in options.parts.items()}
    return {"": options}


def reading_threads(options: DataOptions) -> int:
    """Samples that are read at the same time: many where each read waits for a server."""
    if options.threads is not None:
        return options.threads
    names = [name for part in plain_sources(options.train).values() for name in getattr(part, "shards", [])]
    return _REMOTE_THREADS if any(map(is_url, names)) and options.cache is None else 1


def build_source(options: AnySource, storage: Storage | None = None) -> Source:
    """The source that `options` describe; `storage` (shards as they lie, where None) opens the shards it reads."""
    arguments = [storage or DirectStorage()] if isinstance(options, StoredPart) else []
    source = cast(Source, construct(options, *arguments))
    transforms = getattr(options, "transforms", None)
    return Transformed(source, transforms) if transforms else source


class _Described(Options):
    source: AnySource


def source_at(path: str, key: str) -> AnySource:
    """The options of the source at `key` ("data.train") of a YAML file; an empty key is the whole file.

    Raises:
        ConfigError: when the file or the key is missing, or is no source.
    """
    tree: Any = load_tree(path)
    for part in key.split(".") if key else []:
        if not isinstance(tree, dict) or part not in tree:
            raise ConfigError(f"{path}: has no key '{key}'.")
        tree = tree[part]
    described = validate(_Described, {"source": tree}, f"{path}{f', {key}' if key else ''}")
    return cast(_Described, described).source
