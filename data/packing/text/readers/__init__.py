"""Readers of text corpora: a file -> its texts, one after the other, never more than it must hold.

data.packing.text.readers.options       how a corpus is read: keys, labels, which files, which format
data.packing.text.readers.entry         `Entry`: one text of a file; texts and labels of rows
data.packing.text.readers.compressed    files that may be compressed
data.packing.text.readers.files         one text per file: plain, mail, word/tag
data.packing.text.readers.rows          rows with keys: JSON lines, CSV, parquet
data.packing.text.readers.nested        records in lists of a JSON file
data.packing.text.readers.records       dictionaries (dictd), sequences (FASTA)
data.packing.text.readers.hugging_face  data sets of the Hugging Face hub, and saved ones
data.packing.text.readers.stdlib        the Python standard library
data.packing.text.readers.formats       the table of formats and their suffixes
"""

__all__ = ["compressed", "entry", "files", "formats", "hugging_face", "nested", "options", "records", "rows", "stdlib"]
