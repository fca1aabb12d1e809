"""Options of packing images. Free of heavy imports."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from data.packing.options import PackOptions


class ImagePackOptions(PackOptions):
    """Images: folders, idx files (MNIST), .npz, .npy and .csv[.gz] arrays, colour bitmap fonts."""

    kind: Literal["images"] = "images"
    encode: Literal["keep", "jpg", "png", "webp"] = "keep"
    "The format that images are written in; 'keep' copies files as they are, and writes arrays as png."
    quality: int = Field(default=95, ge=1, le=100)
    "Quality of the jpg and webp files that are encoded anew."
    max_size: int | None = Field(default=None, gt=0)
    "Scale images down whose longer side has more pixels than this; they are encoded anew."
    splits: Literal["folders", "hash"] = "folders"
    "'folders': where the corpus has train and val/validation (else test) parts, keep to them; 'hash': ignore them."
    classes: Literal["folders", "none"] = "folders"
    "'folders': the first folder below the root (or below train/, val/) names the class; 'none': no classes."
    images: str = ""
    "The array of images in an .npz; where it is not given, every array of three or four dimensions."
    labels: str = ""
    "The array of their labels, or an .npy file beside an .npy; where not given, the one named like the images."
    height: int | None = Field(default=None, gt=0)
    "Height of the images of a .csv; they are square where neither height nor width is given."
    width: int | None = Field(default=None, gt=0)
    "Width of the images of a .csv."
    label_column: str = "-1"
    "The column of labels in a .csv: its name, its number (from 0, or from the end if negative), or 'none'."

    builds: ClassVar[str] = "data.packing.images.packer:ImagePacker"
