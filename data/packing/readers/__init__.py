"""Readers of text corpora: a file -> its texts, one after the other, never more than it must hold.

data.packing.readers.options       how a corpus is read: keys, labels, which files, which format
data.packing.readers.entry         `Entry`: one text of a file; texts and labels of rows
data.packing.readers.compressed    files that may be compressed
data.packing.readers.files         one text per file: plain, mail, word/tag
data.packing.readers.rows          rows with keys: JSON lines, CSV, parquet
data.packing.readers.nested        records in lists of a JSON file
data.packing.readers.records       dictionaries (dictd), sequences (FASTA)
data.packing.readers.hugging_face  data sets of the Hugging Face hub, and saved ones
data.packing.readers.stdlib        the Python standard library
data.packing.readers.formats       the table of formats and their suffixes
"""

__all__ = ["compressed", "entry", "files", "formats", "hugging_face", "nested", "options", "records", "rows", "stdlib"]
