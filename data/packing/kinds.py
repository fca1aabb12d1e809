"""Every kind of corpus that `polytrain pack KIND` knows."""

from __future__ import annotations

from data.packing.audio_options import AudioPackOptions
from data.packing.images_options import ImagePackOptions
from data.packing.options import PackOptions
from data.packing.source_options import SourcePackOptions
from data.packing.tables_options import ArrayPackOptions, SeriesPackOptions, TablePackOptions
from data.packing.text_options import TextPackOptions

PACK_OPTIONS: tuple[type[PackOptions], ...] = (
    TextPackOptions,
    ImagePackOptions,
    AudioPackOptions,
    TablePackOptions,
    SeriesPackOptions,
    ArrayPackOptions,
    SourcePackOptions,
)
"By kind, in the order in which the command line lists them."
