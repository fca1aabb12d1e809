"""How a text corpus is read. Free of heavy imports."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import model_validator

from configs.options import Options

Format = Literal["auto", "plain", "mail", "tagged", "jsonl", "json", "csv", "tsv", "parquet", "dictd", "fasta"]


class DocumentOptions(Options):
    """Where in a corpus the texts and their labels are."""

    text_key: str = "text"
    "Key or column of the text; dots lead into nested ones (meta.body), in .json files through lists too."
    label_key: str | None = None
    "Key or column of the label: a string or an integer. Default: no label, or that of label_pattern."
    label_pattern: str | None = None
    "A regular expression searched in '/' + the document's name; its first group is the label."
    pattern: str | None = None
    "Which files of a folder, such as '*.txt' or 'c[a-r][0-9][0-9]'. Default: those with a known suffix."
    format: Format = "auto"
    "What the files are. Auto: by suffix; a file without a known one is plain text."

    invalid_utf8: Literal["refuse", "replace"] = "refuse"
    "Bytes that are not UTF-8: stop with an error, or read each as U+FFFD."

    @property
    def decode_errors(self) -> str:
        """`invalid_utf8` in the words of `bytes.decode`."""
        return "strict" if self.invalid_utf8 == "refuse" else "replace"

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        if self.label_key is not None and self.label_pattern is not None:
            raise ValueError("label_key and label_pattern: a document has one label; give one of them")
        try:
            re.compile(self.label_pattern or "")
        except re.error as error:
            raise ValueError(f"label_pattern: not a regular expression: {error}") from None
        return self
