"""Map-style data sets of the `datasets` library: from the hub by name, or from a folder.

    kind: hugging_face
    name: ylecun/mnist                  # or a folder written by Dataset.save_to_disk
    split: train
    columns: {image: image, label: label}

Columns become fields:

    images                        [H, W, C] uint8
    audio                         [T] float32, channels averaged; its rate as sample_rate (or FIELD_sample_rate
                                  where several columns are audio), []
    numbers, booleans             [] in their own type; class labels int64
    text                          [] str
    lists of them, also nested    arrays; all rows of a nested list must be equally long; nulls of real numbers are NaN
    bytes                         [bytes] uint8

Nothing that belongs to a data set is executed: `trust_remote_code` is never passed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from configs.errors import DataError
from configs.options import Part
from data.sample import Sample, SampleError, fingerprint_of
from data.transforms import AnyTransform


class HuggingFaceOptions(Part):
    """A map-style data set of the Hugging Face `datasets` library."""

    kind: Literal["hugging_face"] = "hugging_face"
    name: str = Field(min_length=1)
    "Its name on the hub, or a folder written by `save_to_disk`."
    subset: str | None = None
    "Its configuration, where it has several."
    revision: str | None = None
    "A commit or tag of it on the hub. Give one, so that the same recipe means the same samples next year."
    split: str | None = None
    "Which split; may be left out where there is one only."
    columns: dict[str, str] | None = None
    "Column -> field, such as {img: image, fine_label: label}; others are left out. Null: every column, by its name."
    transforms: list[AnyTransform] = Field(default_factory=list)
    "Applied to each sample, in this order."

    builds: ClassVar[str] = "data.hugging_face:HuggingFace"


class HuggingFace:
    """A `Source` of the rows of a data set."""

    def __init__(self, options: HuggingFaceOptions) -> None:
        self._options = options
        rows = _load(options)
        columns = options.columns or {name: name for name in rows.column_names}
        missing = sorted(set(columns) - set(rows.column_names))
        if missing:
            raise DataError(
                f"{options.name}: no column {', '.join(missing)}; it has {', '.join(rows.column_names)}. "
                "Correct the key 'columns'."
            )
        self._fingerprint = fingerprint_of(
            json.dumps([rows._fingerprint, options.split, sorted(columns.items())]).encode()
        )
        self._decoders = _decoders(columns, rows.features)
        # Arrow rows: nothing is decoded by the library, which needs packages of its own for it.
        self._rows = rows.select_columns(list(columns)).with_format("arrow")

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        row = self._rows[index]
        sample: Sample = {}
        for column, decode in self._decoders.items():
            try:
                sample.update(decode(row[column][0]))
            except (ValueError, TypeError, OSError) as error:
                raise SampleError(f"{self.name(index)}: column '{column}': {error}") from None
        return sample

    @property
    def fingerprint(self) -> int:
        """A hash of the data set's own fingerprint, the split and the columns."""
        return self._fingerprint

    def name(self, index: int) -> str:
        """Where the sample at `index` comes from."""
        split = f", {self._options.split}" if self._options.split else ""
        return f"{self._options.name}{split}, row {index}"


Decode = Callable[[Any], Sample]


def _load(options: HuggingFaceOptions) -> Any:
    """The rows, as `datasets.Dataset`."""
    import datasets

    folder = Path(options.name)
    is_saved = any((folder / name).is_file() for name in ("state.json", "dataset_dict.json"))
    try:
        if is_saved:
            found: Any = datasets.load_from_disk(options.name)
        else:
            found = datasets.load_dataset(options.name, options.subset, split=options.split, revision=options.revision)
    except Exception as error:  # whatever the hub, the network and the file formats raise
        raise DataError(f"{options.name}: cannot be loaded: {type(error).__name__}: {error}") from error
    if isinstance(found, datasets.DatasetDict):
        return _split_of(found, options)
    if is_saved and options.split is not None and str(found.split) != options.split:
        raise DataError(
            f"{options.name}: holds one data set ({found.split or 'without the name of a split'}), not the split "
            f"'{options.split}'. Leave out the key 'split'."
        )
    return found


def _split_of(found: Any, options: HuggingFaceOptions) -> Any:
    names = ", ".join(found)
    if options.split is None and len(found) == 1:
        return next(iter(found.values()))
    if options.split not in found:
        wanted = f"no split '{options.split}'" if options.split else "several splits"
        raise DataError(f"{options.name}: {wanted}; it has {names}. Set the key 'split' to one of them.")
    return found[options.split]


def _decoders(columns: dict[str, str], features: Any) -> dict[str, Decode]:
    import datasets

    sounds = [column for column in columns if isinstance(features[column], datasets.Audio)]
    decoders: dict[str, Decode] = {}
    for column, field in columns.items():
        if isinstance(features[column], datasets.Image):
            decoders[column] = partial(_image, field)
        elif isinstance(features[column], datasets.Audio):
            decoders[column] = partial(_audio, field, "sample_rate" if len(sounds) == 1 else f"{field}_sample_rate")
        else:
            decoders[column] = partial(_array, field)
    return decoders


def _image(field: str, value: Any) -> Sample:
    from data.images.decode import decode_image

    return {field: decode_image(_file(value))}


def _audio(field: str, rate_field: str, value: Any) -> Sample:
    from data.audio.decode import decode_audio

    waveform, rate = decode_audio(_file(value))
    return {field: waveform, rate_field: np.array(rate, dtype=np.int64)}


def _file(value: Any) -> bytes:
    """The bytes of an image or recording: in the row, or in a file that it names."""
    content = value.as_py()
    if content is None:
        raise ValueError("is null")
    return content["bytes"] if content["bytes"] is not None else Path(content["path"]).read_bytes()


def _array(field: str, value: Any) -> Sample:
    """The array of an Arrow scalar."""
    import pyarrow as pa

    if not value.is_valid:
        raise ValueError("is null")
    kind = value.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return {field: np.frombuffer(value.as_py(), dtype=np.uint8)}
    array: NDArray[Any]
    if is_list and pa.types.is_primitive(kind.value_type) and not value.values.null_count:
        array = value.values.to_numpy(zero_copy_only=False)
    else:
        array = np.asarray(value.as_py(), dtype=_dtype(kind))
    if array.dtype.kind not in "biufU":
        raise ValueError(f"{kind} becomes {array.dtype}, expected numbers or text, without nulls")
    return {field: array}


def _dtype(kind: Any) -> Any:
    """The numpy type of the innermost values; None where numpy should find it (texts)."""
    while hasattr(kind, "storage_type") or hasattr(kind, "value_type"):
        kind = kind.storage_type if hasattr(kind, "storage_type") else kind.value_type
    try:
        dtype = np.dtype(kind.to_pandas_dtype())
    except NotImplementedError:
        return None
    return dtype if dtype.kind in "biuf" else None
