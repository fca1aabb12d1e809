"""Every kind of corpus that `polytrain pack KIND` knows."""

from __future__ import annotations

from data.packing.any_source_options import SourcePackOptions
from data.packing.audio.options import AudioPackOptions
from data.packing.grouped_files_options import FilesPackOptions
from data.packing.images.options import ImagePackOptions
from data.packing.tables.options import ArrayPackOptions, SeriesPackOptions, TablePackOptions
from data.packing.text.options import TextPackOptions

AnyPack = (
    TextPackOptions
    | ImagePackOptions
    | AudioPackOptions
    | TablePackOptions
    | SeriesPackOptions
    | ArrayPackOptions
    | FilesPackOptions
    | SourcePackOptions
)
"In the order in which the command line lists them."
