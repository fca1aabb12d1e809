"""The other loaders, each as its own documentation recommends; those that are not installed are left out by name.

webdataset and tarfile read the same tars. litdata and mosaicml-streaming have formats of their own: the samples are
converted, which is timed. datasets and megatron-energon read tars, energon after indexing a folder of its own.
"""

from __future__ import annotations

import contextlib
import functools
import io
import multiprocessing
import os
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import webdataset as wds
from torch.utils.data import DataLoader, default_collate

from benchmarks.loading.contenders import CannotError, Contender, Decode, Work, require
from benchmarks.loading.corpora import Corpus
from benchmarks.loading.figures import WEBDATASET
from benchmarks.loading.ours import raw_source


class TarFile:
    """`tarfile` of the standard library, front to back: what reading tars costs by itself."""

    name = "tarfile (no shuffle)"

    def prepare(self, corpus: Corpus) -> float:
        return 0.0

    def samples(self, work: Work) -> Iterator[Mapping[str, Any]]:
        sample: dict[str, Any] = {}
        current = ""
        for shard in work.corpus.shards:
            with tarfile.open(shard, "r:") as tar:
                for entry in tar:
                    key, _, extension = entry.name.partition(".")
                    if key != current and sample:
                        yield sample
                        sample = {}
                    current = key
                    member = tar.extractfile(entry)
                    assert member is not None
                    sample[extension] = member.read()
        yield sample

    def batches(self, work: Work) -> Iterator[Mapping[str, Any]]:
        raise CannotError("makes no batches")


class WebDataset:
    """Shard list, shuffle of shards, samples of the tars, shuffle buffer."""

    def __init__(self, name: str = WEBDATASET, buffer: int = 1000, prefix: str = "") -> None:
        """`prefix` + path is what is opened, such as `pipe:curl -s URL/`."""
        self.name = name
        self._buffer = buffer
        self._prefix = prefix

    def prepare(self, corpus: Corpus) -> float:
        return 0.0

    def pipeline(self, work: Work, *before: Any) -> Any:
        """The samples; `before` are stages between the list of shards and its shuffle."""
        urls = [f"{self._prefix}{path}" for path in work.corpus.shards]
        return wds.DataPipeline(
            wds.SimpleShardList(urls),
            *before,
            wds.split_by_worker,
            wds.detshuffle(100, seed=work.seed),
            wds.tarfile_to_samples(),
            *([wds.detshuffle(self._buffer, seed=work.seed)] if self._buffer else []),
        )

    def samples(self, work: Work) -> Iterator[Mapping[str, Any]]:
        yield from self.pipeline(work)

    def batches(self, work: Work) -> Iterator[Mapping[str, Any]]:
        pipeline = self.pipeline(work).compose(wds.map(Decode(work.corpus.fields)), wds.batched(work.rows))
        # Made into tensors by the worker, as batch_size=None does.
        yield from wds.WebLoader(pipeline, batch_size=None, num_workers=work.workers)


class Datasets:
    """Hugging Face datasets, streaming, with its own reader of webdataset tars and a shuffle buffer of 1,000."""

    name = "datasets (streaming)"
    module = "datasets"

    def prepare(self, corpus: Corpus) -> float:
        require("datasets", "datasets")
        return 0.0

    def samples(self, work: Work) -> Iterator[Mapping[str, Any]]:
        if any("://" in str(path) for path in work.corpus.shards):
            require("aiohttp", "aiohttp (which datasets needs for HTTP)")
            require("requests", "requests (which datasets needs for HTTP)")
        import datasets

        files = {"train": [str(path) for path in work.corpus.shards]}
        stream = datasets.load_dataset("webdataset", data_files=files, split="train", streaming=True)
        stream = stream.shuffle(seed=work.seed, buffer_size=1000)
        if "jpg" in work.corpus.payload:
            stream = stream.cast_column("jpg", datasets.Image(decode=False))
            yield from ({**sample, "jpg": sample["jpg"]["bytes"]} for sample in stream)
        else:
            yield from stream

    def batches(self, work: Work) -> Iterator[Mapping[str, Any]]:
        raise CannotError("decodes members by itself, not by the given function")


class Converted:
    """A loader with a format of its own, in a folder beside the tars."""

    name: str
    module: str

    def prepare(self, corpus: Corpus) -> float:
        """Convert, unless it was done before (in which case it took no time)."""
        require(self.module, self.name)
        if self._folder(corpus).exists():
            return 0.0
        # In a process of its own: litdata's changes how every later worker of its process is started.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            return pool.submit(_converted, self, corpus, self._folder(corpus)).result()

    def convert(self, corpus: Corpus, folder: Path) -> None:
        """Write the samples into `folder`."""
        raise NotImplementedError

    def _folder(self, corpus: Corpus) -> Path:
        return corpus.folder / self.module


class LitData(Converted):
    """litdata: chunks written by `optimize`, shuffled by chunk and within it."""

    name = "litdata"
    module = "litdata"

    def convert(self, corpus: Corpus, folder: Path) -> None:
        import litdata

        read = functools.partial(member_bytes, [str(path) for path in corpus.shards], _extensions(corpus))
        inputs = list(range(corpus.num_samples))
        litdata.optimize(read, inputs, str(folder), chunk_bytes="64MB", num_workers=1, verbose=False)

    def samples(self, work: Work) -> Iterator[Mapping[str, Any]]:
        yield from self._dataset(work)

    def batches(self, work: Work) -> Iterator[Mapping[str, Any]]:
        import litdata

        dataset = self._dataset(work, transform=Decode(work.corpus.fields))
        yield from litdata.StreamingDataLoader(dataset, batch_size=work.rows, num_workers=work.workers)

    def _dataset(self, work: Work, transform: Callable[[Any], Any] | None = None) -> Any:
        import litdata

        folder = str(self._folder(work.corpus))
        return litdata.StreamingDataset(folder, shuffle=True, seed=work.seed, transform=transform)


class Mosaic(Converted):
    """mosaicml-streaming: MDS shards, `py1e` shuffle (its default)."""

    name = "mosaicml-streaming"
    module = "streaming"

    def convert(self, corpus: Corpus, folder: Path) -> None:
        import streaming

        extensions = _extensions(corpus)
        source = raw_source([str(path) for path in corpus.shards], extensions)
        with streaming.MDSWriter(out=str(folder), columns=dict.fromkeys(extensions, "bytes")) as writer:
            for number in range(len(source)):
                writer.write({extension: array.tobytes() for extension, array in source[number].items()})

    def samples(self, work: Work) -> Iterator[Mapping[str, Any]]:
        yield from self._dataset(work)

    def batches(self, work: Work) -> Iterator[Mapping[str, Any]]:
        collate = functools.partial(_decode_and_collate, Decode(work.corpus.fields))
        yield from DataLoader(
            self._dataset(work), batch_size=work.rows, num_workers=work.workers, collate_fn=collate, drop_last=True
        )

    def _dataset(self, work: Work) -> Any:
        import streaming

        streaming.base.util.clean_stale_shared_memory()
        return streaming.StreamingDataset(
            local=str(self._folder(work.corpus)), shuffle=True, shuffle_seed=work.seed, batch_size=work.rows
        )


class Energon(Converted):
    """megatron-energon: the tars in a folder with its own index; shuffle buffer of 1,000, one slice per worker."""

    name = "megatron-energon"
    module = "megatron.energon"

    def convert(self, corpus: Corpus, folder: Path) -> None:
        from megatron.energon.flavors.webdataset import BaseWebdatasetFactory

        folder.mkdir()
        for shard in corpus.shards:
            os.link(shard, folder / shard.name)
        names = [shard.name for shard in corpus.shards]
        BaseWebdatasetFactory.prepare_dataset(
            folder, names, split_parts_ratio=[("train", 1.0)], tar_index_only=False, workers=1
        )
        lines = ["__module__: megatron.energon", "__class__: CrudeWebdataset"]
        (folder / ".nv-meta" / "dataset.yaml").write_text("\n".join(lines) + "\n")

    def samples(self, work: Work) -> Iterator[Mapping[str, Any]]:
        yield from (sample.text for sample in self._loader(work, None, dict, default_collate))

    def batches(self, work: Work) -> Iterator[Mapping[str, Any]]:
        yield from self._loader(work, work.rows, Decode(work.corpus.fields), default_collate)

    def _loader(
        self, work: Work, rows: int | None, decode: Callable[[Any], Any], collate: Callable[[list[Any]], Any]
    ) -> Any:
        from megatron import energon

        config = energon.WorkerConfig(rank=0, world_size=1, num_workers=work.workers, seed_offset=work.seed)
        dataset = energon.get_train_dataset(
            str(self._folder(work.corpus)),
            worker_config=config,
            batch_size=rows,
            batch_drop_last=True,
            shuffle_buffer_size=1000,
            max_samples_per_sequence=None,
            task_encoder=_energon_encoder(decode, collate),
            repeat=False,
        )
        return energon.get_loader(dataset)


def _energon_encoder(decode: Callable[[Any], Any], collate: Callable[[list[Any]], Any]) -> Any:
    """What turns its samples into ours: undecoded until `decode`, dictionaries after it."""
    from megatron import energon

    @energon.stateless  # type: ignore[untyped-decorator]
    def cook(sample: Any) -> Any:
        return energon.TextSample(**energon.basic_sample_keys(sample), text=decode(sample))

    class Encoder(energon.DefaultTaskEncoder):  # type: ignore[misc]
        decoder = None
        cookers = (energon.Cooker(cook),)

        def batch(self, samples: list[Any]) -> Any:
            return collate([sample.text for sample in samples])

        def encode_batch(self, batch: Any) -> Any:
            return batch

    return Encoder()


def everybody() -> list[Contender]:
    """Every other loader."""
    return [TarFile(), WebDataset(), Datasets(), LitData(), Mosaic(), Energon()]


def member_bytes(shards: list[str], extensions: list[str], index: int) -> dict[str, bytes]:
    """The members of one sample (litdata calls this in processes of its own)."""
    return {name: array.tobytes() for name, array in _opened(tuple(shards), tuple(extensions))[index].items()}


@functools.lru_cache(maxsize=1)
def _opened(shards: tuple[str, ...], extensions: tuple[str, ...]) -> Any:
    return raw_source(shards, extensions)


def _converted(loader: Converted, corpus: Corpus, folder: Path) -> float:
    """Seconds that a conversion took."""
    started = time.perf_counter()
    # They print much.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        loader.convert(corpus, folder)
    return time.perf_counter() - started


def _decode_and_collate(decode: Decode, samples: list[Any]) -> Any:
    return default_collate([decode(sample) for sample in samples])


def _extensions(corpus: Corpus) -> list[str]:
    return [field.extension for field in corpus.fields.values()]
