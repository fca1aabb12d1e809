"""Side-by-side measurements of data loaders: `python -m benchmarks.loading --help`.

figures        medians, ranges, interleaved repetitions, Markdown and JSON
corpora        the shards that everybody reads
contenders     what every loader must do to take part
ours           polytrain
peers          tarfile, webdataset, datasets, litdata, mosaicml-streaming, megatron-energon
server         a local HTTP server with ranges and a delay
cost           CPU time per sample
decode         samples per second, decoded, with workers
cold           nothing in the page cache
remote         over HTTP
coverage       what an epoch visits
resume         seconds to the first batch in the middle of an epoch
first_batch    the process that `resume` starts
shuffle        how well an order is mixed
"""

__all__ = [
    "cold",
    "contenders",
    "corpora",
    "cost",
    "coverage",
    "decode",
    "figures",
    "first_batch",
    "ours",
    "peers",
    "remote",
    "resume",
    "server",
    "shuffle",
]
