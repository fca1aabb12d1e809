"""Options of text sources. Free of heavy imports."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from data.shard_names import ShardNames
from data.storage import StoredPart


class TextSourceOptions(StoredPart):
    """What every text source has."""

    shards: ShardNames
    "Shard names: paths or URLs, globs and braces, such as shards/quickstart/train-{000000..000003}.tar."

    @property
    def full_row(self) -> dict[str, int]:
        """Field of a sample -> its tokens; 0 where it is one number."""
        raise NotImplementedError


class TokenWindowsOptions(TextSourceOptions):
    """Windows over the concatenated, tokenised documents of webdataset shards."""

    kind: Literal["token_windows"] = "token_windows"
    length: int = Field(gt=0)
    "Input tokens per sequence."

    builds: ClassVar[str] = "data.text.windows:TokenWindows"

    @property
    def full_row(self) -> dict[str, int]:
        """A row has one token more than is read, the last target."""
        return {"tokens": self.length + 1, "segments": self.length + 1}


class PackedDocumentsOptions(TextSourceOptions):
    """Rows of whole documents by best-fit packing, without truncation (Ding et al. 2024)."""

    kind: Literal["packed_documents"] = "packed_documents"
    length: int = Field(gt=0)
    "Input tokens per sequence; a row has one more."

    builds: ClassVar[str] = "data.text.packed:PackedDocuments"

    @property
    def full_row(self) -> dict[str, int]:
        """A row has one token more than is read, the last target."""
        return {"tokens": self.length + 1, "segments": self.length + 1}


class DocumentRowsOptions(TextSourceOptions):
    """One document per row, padded."""

    kind: Literal["documents"] = "documents"
    length: int = Field(gt=0)
    "Input tokens per sequence; a row has one more."
    longer: Literal["cut", "split", "refuse"] = "cut"
    "Of a longer document: keep the first row (cut), make several rows of it (split), or stop with an error (refuse)."

    builds: ClassVar[str] = "data.text.documents:DocumentRows"

    @property
    def full_row(self) -> dict[str, int]:
        """A row has one token more than is read, the last target."""
        return {"tokens": self.length + 1, "segments": self.length + 1}


class SentencePairsOptions(TextSourceOptions):
    """Two spans, and whether the second follows the first (Devlin et al. 2019; Lan et al. 2020)."""

    kind: Literal["sentence_pairs"] = "sentence_pairs"
    length: int = Field(ge=5)
    "Tokens per row, special ones included."
    cls: int = Field(ge=0)
    "Id of the token that begins a row, such as [CLS]."
    sep: int = Field(ge=0)
    "Id of the token that ends a span, such as [SEP]."
    negatives: Literal["random_document", "swapped"] = "random_document"
    "The wrong half: B from another document (BERT), or A and B the other way round (ALBERT)."

    builds: ClassVar[str] = "data.text.sentence_pairs:SentencePairs"

    @property
    def full_row(self) -> dict[str, int]:
        """Two spans side by side."""
        return dict.fromkeys(("tokens", "types", "segments"), self.length) | {"label": 0}


class PrefixTargetOptions(TextSourceOptions):
    """Documents cut at a random place into a prefix and a target, for encoder-decoder models."""

    kind: Literal["prefix_target"] = "prefix_target"
    input_length: int = Field(gt=0)
    "Tokens of the prefix, at most; padded to as many."
    target_length: int = Field(gt=0)
    "Tokens of the target, at most; padded to as many."

    builds: ClassVar[str] = "data.text.prefix_target:PrefixTarget"

    @property
    def full_row(self) -> dict[str, int]:
        """Both sides, padded."""
        return _of_pairs(self.input_length, self.target_length)


class TokenPairsOptions(TextSourceOptions):
    """Samples with the members source.npy and target.npy: translations, summaries, answers."""

    kind: Literal["token_pairs"] = "token_pairs"
    input_length: int = Field(gt=0)
    "Tokens of the source, at most; padded to as many."
    target_length: int = Field(gt=0)
    "Tokens of the target, at most; padded to as many."
    longer: Literal["cut", "refuse"] = "cut"
    "Of a longer one: keep its beginning, or stop with an error."

    builds: ClassVar[str] = "data.text.token_pairs:TokenPairs"

    @property
    def full_row(self) -> dict[str, int]:
        """Both sides, padded."""
        return _of_pairs(self.input_length, self.target_length)


def _of_pairs(inputs: int, targets: int) -> dict[str, int]:
    return {"inputs": inputs, "input_segments": inputs, "targets": targets, "target_segments": targets}


AnyText = (
    TokenWindowsOptions
    | PackedDocumentsOptions
    | DocumentRowsOptions
    | SentencePairsOptions
    | PrefixTargetOptions
    | TokenPairsOptions
)
"Every text source, for the unions in data.sources."
