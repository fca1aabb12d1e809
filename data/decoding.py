"""Members of a shard -> fields of a sample, by file extension.

    jpg jpeg png webp bmp tif tiff gif    image [H, W, 3] uint8; `jpg:gray` [H, W, 1], `png:unchanged` as it is
    wav flac ogg mp3                      waveform [T] float32 (channels averaged), sample_rate []
    npy                                   array, of any type but objects
    npz                                   its arrays, under their own names
    cls, index, id                        label, index, id [] int64: a number written as text
    txt, text                             text [] str
    json                                  only what is asked for by key: `json:caption`, `json:box.width`

`NAME.EXTENSION` gives the field NAME instead of the one above: `depth.npy`, `caption.txt`, `fine.cls`. With
the suffix `:raw` any member is [bytes] uint8 as it lies in the shard.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, cast

import numpy as np

from configs.errors import DataError
from data.arrays import ArrayReader
from data.sample import Sample

Content = bytes | memoryview
Decoder = Callable[[Content], Sample]


def decoder_of(field: str | None, extension: str, how: str = "") -> Decoder:
    """What decodes members with `extension` into the field `field` (default: as the module says).

    Args:
        field: the name of the field, or None for the usual one.
        extension: as webdataset splits names: everything after the first dot, in lower case.
        how: "" by extension, "raw", the mode of an image ("gray"), or a key of a JSON member ("box.width").

    Raises:
        DataError: when there is no decoder. (Decoders raise ValueError on bytes that are not what they should be.)
    """
    name, _, kind = extension.rpartition(".")
    if how == "raw":
        return partial(_into, field or extension, _bytes)
    if how and kind in _IMAGES:
        return partial(_into, field or name or "image", _image_decoder(how))
    if how:
        if kind != "json":
            raise DataError(f"fields: '{extension}:{how}': only JSON members have keys; expected ':raw' or nothing.")
        return partial(_into, field or how, partial(_json_value, key=how))
    if kind not in _DECODERS:
        raise DataError(
            f"fields: no decoder for members '.{extension}'; known: {', '.join(_DECODERS)}. Read its bytes with "
            f"'{extension}:raw', or leave it out by listing the 'fields' you want."
        )
    return _DECODERS[kind](field or name)


def _into(field: str, decode: Callable[[Content], Any], content: Content) -> Sample:
    return {field: np.asarray(decode(content))}


def _bytes(content: Content) -> np.ndarray:
    return np.frombuffer(content, dtype=np.uint8)


def _image(field: str) -> Decoder:
    return partial(_into, field or "image", _image_decoder("rgb"))


def _image_decoder(mode: str) -> Callable[[Content], Any]:
    if mode not in ("rgb", "gray", "unchanged"):
        raise DataError(f"fields: images are decoded as ':rgb' (the usual), ':gray' or ':unchanged', not ':{mode}'.")
    from data.images.decode import decode_image

    return partial(decode_image, mode=cast(Literal["rgb", "gray", "unchanged"], mode))


def _audio(field: str) -> Decoder:
    is_usual = field in ("", "waveform")
    return partial(_waveform, field or "waveform", "sample_rate" if is_usual else f"{field}_sample_rate")


def _waveform(field: str, rate_field: str, content: Content) -> Sample:
    from data.audio.decode import decode_audio

    waveform, rate = decode_audio(bytes(content))
    return {field: waveform, rate_field: np.array(rate, dtype=np.int64)}


def _archive(prefix: str, content: Content) -> Sample:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {prefix + name: archive[name] for name in archive.files}
    except Exception as error:  # numpy and zipfile raise whatever other bytes lead them to
        raise ValueError(f"not an npz archive: {error}") from None


def _integer(content: Content) -> np.int64:
    number = int(str(content, "ascii"))
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{number} does not fit into 64 bits")
    return np.int64(number)


def _text(content: Content) -> str:
    return str(content, "utf-8")


def _only_by_key(_field: str) -> Decoder:
    raise DataError("fields: a JSON member is read by key: 'json:caption', 'json:box.width', or 'json:raw'.")


def _json_value(content: Content, key: str) -> Any:
    try:
        value = json.loads(bytes(content))
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            raise ValueError(f"no key '{key}' in {bytes(content[:80])!r}")
        value = value[part]
    array = np.asarray(value)
    if array.dtype.kind not in "biufU":
        raise ValueError(f"'{key}' is {value!r:.80}, expected a number, a text, or a list of one of them")
    return array


def _usual(usual_field: str, decode: Callable[[Content], Any], field: str) -> Decoder:
    return partial(_into, field or usual_field, decode)


_IMAGES = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif")

_DECODERS: dict[str, Callable[[str], Decoder]] = {
    **dict.fromkeys(_IMAGES, _image),
    **dict.fromkeys(("wav", "flac", "ogg", "mp3"), _audio),
    "npy": lambda field: partial(_into, field or "array", ArrayReader()),
    "npz": lambda field: partial(_archive, f"{field}." if field else ""),
    "cls": partial(_usual, "label", _integer),
    "index": partial(_usual, "index", _integer),
    "id": partial(_usual, "id", _integer),
    **dict.fromkeys(("txt", "text"), partial(_usual, "text", _text)),
    "json": _only_by_key,
}
