"""Every kind of corpus that `polytrain pack KIND` knows."""

from __future__ import annotations

from data.packing.audio_options import AudioPackOptions
from data.packing.files_options import FilesPackOptions
from data.packing.images_options import ImagePackOptions
from data.packing.source_options import SourcePackOptions
from data.packing.tables_options import ArrayPackOptions, SeriesPackOptions, TablePackOptions
from data.packing.text_options import TextPackOptions

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
