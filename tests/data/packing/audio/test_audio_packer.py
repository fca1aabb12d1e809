from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import torchaudio.functional
from pydantic import ValidationError

from configs.errors import DataError
from configs.options import construct
from data.audio.decode import audio_info
from data.packing.audio.options import AudioPackOptions
from data.packing.audio.packer import AudioPacker
from data.packing.record import Record
from data.sample import SampleError

RATE = 8000


def write(path: Path, seconds: float = 0.5, channels: int = 1, **options: Any) -> np.ndarray:
    """Write a recording; returns it as [T] or [T, channels] float32."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(path.as_posix())).uniform(-0.5, 0.5, (round(seconds * RATE), channels))
    waveform = noise.astype(np.float32)[:, 0] if channels == 1 else noise.astype(np.float32)
    soundfile.write(path, waveform, RATE, **options)
    return waveform


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Four recordings in two folders, one of each format; and what is none."""
    root = tmp_path / "corpus"
    write(root / "dog" / "ann-1.wav", 0.25)
    write(root / "dog" / "bob-1.FLAC", 0.5, format="FLAC")
    write(root / "cat" / "ann-2.ogg", 0.75, subtype="OPUS")
    write(root / "cat" / "deep" / "cyd-9.mp3", 1.0)
    (root / "README.txt").write_text("about\n")
    return root


NAMES = ["cat/ann-2.ogg", "cat/deep/cyd-9.mp3", "dog/ann-1.wav", "dog/bob-1.FLAC"]


def packer(corpus: Path, **options: Any) -> AudioPacker:
    built = construct(AudioPackOptions(corpus=str(corpus), **options), str(corpus))
    assert isinstance(built, AudioPacker)
    return built


def records(corpus: Path, **options: Any) -> dict[str, Record]:
    packs = packer(corpus, **options)
    return {item.name: packs.encode(item) for item in packs.items()}


def decoded(content: object) -> np.ndarray:
    assert isinstance(content, bytes)
    return soundfile.read(io.BytesIO(content), dtype="float32")[0]


def test_files_are_kept_as_they_are(corpus: Path) -> None:
    found = records(corpus)
    assert list(found) == NAMES
    for name, extension, seconds in zip(NAMES, ["ogg", "mp3", "wav", "flac"], [0.75, 1.0, 0.25, 0.5], strict=True):
        frames = round(seconds * RATE)
        about = {"name": name, "frames": frames, "sample_rate": RATE, "seconds": seconds}
        assert found[name] == Record({extension: (corpus / name).read_bytes(), "json": about}, length=frames)


def test_the_extension_is_what_the_file_is_not_what_it_is_called(corpus: Path) -> None:
    (corpus / "dog" / "ann-1.wav").rename(corpus / "really.mp3")
    assert records(corpus)["really.mp3"].members.keys() == {"wav", "json"}


def test_groups_are_files_or_what_a_pattern_finds(corpus: Path) -> None:
    assert [item.group for item in packer(corpus).items()] == NAMES
    by_speaker = packer(corpus, group_pattern="([a-z]+)-[0-9]")
    assert [item.group for item in by_speaker.items()] == ["ann", "cyd", "ann", "bob"]
    with pytest.raises(DataError, match=r"ann-1.wav: group_pattern '\(b.b\)' is not found|ann-2.ogg: group_pattern"):
        list(packer(corpus, group_pattern="(b.b)").items())


def test_classes_are_folders_or_what_a_pattern_finds(corpus: Path) -> None:
    folders = packer(corpus, labels="folders")
    assert [folders.encode(item).members["cls"] for item in folders.items()] == [0, 0, 1, 1]
    assert folders.facts() == {"classes": ["cat", "dog"]}
    speakers = packer(corpus, labels="([a-z]+)-[0-9]")
    assert [item.content.label for item in speakers.items()] == [0, 2, 0, 1]
    assert speakers.facts() == {"classes": ["ann", "bob", "cyd"]}
    write(corpus / "loose.wav")
    with pytest.raises(DataError, match=r"loose\.wav: lies in no folder"):
        list(packer(corpus, labels="folders").items())


@pytest.mark.parametrize(("encode", "container"), [("flac", "flac"), ("wav16", "wav")])
def test_converted_files_sound_the_same(corpus: Path, encode: str, container: str) -> None:
    for name, record in records(corpus, encode=encode).items():
        assert record.members.keys() == {container, "json"}
        info = audio_info(record.members[container])
        assert (info.format, info.bits, info.frames, info.sample_rate) == (container, 16, record.length, RATE)
        original = soundfile.read(corpus / name, dtype="float32")[0]
        assert np.abs(decoded(record.members[container]) - original).max() <= 1 / 32767


def test_flac_keeps_24_bits(tmp_path: Path) -> None:
    waveform = write(tmp_path / "fine.wav", subtype="PCM_24")
    record = records(tmp_path, encode="flac")["fine.wav"]
    assert audio_info(record.members["flac"]).bits == 24
    assert np.abs(decoded(record.members["flac"]) - waveform).max() <= 2**-22


def test_channels_are_averaged_or_kept(tmp_path: Path) -> None:
    stereo_TC = write(tmp_path / "stereo.wav", channels=2)
    mono = records(tmp_path, encode="wav16")["stereo.wav"]
    assert np.allclose(decoded(mono.members["wav"]), stereo_TC.mean(1), atol=1e-4)
    both = records(tmp_path, encode="wav16", mono=False)["stereo.wav"]
    assert np.allclose(decoded(both.members["wav"]), stereo_TC, atol=1e-4)
    assert mono.length == both.length == len(stereo_TC)
    resampled = records(tmp_path, encode="flac", mono=False, sample_rate=2 * RATE)["stereo.wav"]
    assert decoded(resampled.members["flac"]).shape == (2 * len(stereo_TC), 2)


def test_resampling_is_that_of_torchaudio(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", subtype="FLOAT")
    original = soundfile.read(tmp_path / "a.wav", dtype="float32")[0]
    record = records(tmp_path, encode="flac", sample_rate=6000)["a.wav"]
    expected = torchaudio.functional.resample(torch.from_numpy(original), RATE, 6000).numpy()
    assert record.members["json"] == {"name": "a.wav", "frames": 3000, "sample_rate": 6000, "seconds": 0.5}
    assert np.abs(decoded(record.members["flac"]) - expected).max() < 1e-5


def test_lengths_that_are_not_wanted_are_left_out_and_counted(corpus: Path) -> None:
    limited = packer(corpus, min_seconds=0.3, max_seconds=0.8)
    assert [item.name for item in limited.items()] == ["cat/ann-2.ogg", "dog/bob-1.FLAC"]
    assert limited.facts() == {"left_out": {"longer than max_seconds": 1, "shorter than min_seconds": 1}}
    assert packer(corpus, min_seconds=0.25, max_seconds=1.0).facts() == {}


def test_pieces_together_are_the_recording(corpus: Path) -> None:
    pieces = packer(corpus, cut_seconds=0.3, encode="flac", labels="folders")
    items = [item for item in pieces.items() if item.group == "cat/ann-2.ogg"]
    assert [item.name for item in items] == [
        f"cat/ann-2.ogg:{a}-{b}" for a, b in ((0, 2400), (2400, 4800), (4800, 6000))
    ]
    found = [pieces.encode(item) for item in items]
    assert [record.length for record in found] == [2400, 2400, 1200]
    whole = soundfile.read(corpus / "cat/ann-2.ogg", dtype="float32")[0]
    assert np.abs(np.concatenate([decoded(record.members["flac"]) for record in found]) - whole).max() < 5e-3
    assert {record.members["cls"] for record in found} == {0}
    rest = packer(corpus, cut_seconds=0.3, encode="flac", min_seconds=0.25)
    assert [item.content.stop for item in rest.items() if item.group == "cat/ann-2.ogg"] == [2400, 4800]
    assert rest.facts() == {"left_out": {"shorter than min_seconds": 3}}


def test_texts_beside_the_files(corpus: Path) -> None:
    for name in NAMES[1:]:
        (corpus / name).with_suffix(".txt").write_text(
            f"This is {name}: \N{LATIN SMALL LETTER E WITH ACUTE}\n", "utf-8"
        )
    packs = packer(corpus, transcripts="sidecar")
    missing, *there = packs.items()
    for item in there:
        assert packs.encode(item).members["txt"] == f"This is {item.name}: \N{LATIN SMALL LETTER E WITH ACUTE}"
    with pytest.raises(SampleError, match=r"cat/ann-2\.ogg: .*ann-2\.txt"):
        packs.encode(missing)


def _csv(rows: list[tuple[str, str]], names: tuple[str, str]) -> str:
    return "".join(f'{file},"{text}"\n' for file, text in [names, *rows])


def _tsv(rows: list[tuple[str, str]], names: tuple[str, str]) -> str:
    return "".join(f"{file}\tx\t{text}\n" for file, text in [names, *rows])


def _jsonl(rows: list[tuple[str, str]], names: tuple[str, str]) -> str:
    return "".join(json.dumps({names[0]: file, names[1]: text, "more": 1}) + "\n" for file, text in rows)


@pytest.mark.parametrize("table", [_csv, _tsv, _jsonl])
@pytest.mark.parametrize("names", [("file", "text"), ("path", "sentence")])
def test_texts_of_a_table(table: Callable[..., str], names: tuple[str, str], corpus: Path, tmp_path: Path) -> None:
    rows = [("cat/ann-2.ogg", "a, b"), ("./dog/ann-1", "c"), ("dog/bob-1.flac", "d"), ("elsewhere.wav", "e")]
    path = tmp_path / f"texts.{table.__name__[1:]}"
    path.write_text(table(rows, names), "utf-8")
    options = {} if names == ("file", "text") else {"file_column": names[0], "text_column": names[1]}
    packs = packer(corpus, transcripts=str(path), **options)
    items = {item.name: item for item in packs.items()}
    missing = items.pop("cat/deep/cyd-9.mp3")
    assert {name: packs.encode(item).members["txt"] for name, item in items.items()} == {
        "cat/ann-2.ogg": "a, b",
        "dog/ann-1.wav": "c",
        "dog/bob-1.FLAC": "d",
    }
    with pytest.raises(SampleError, match=r"cyd-9\.mp3: has no transcript in "):
        packs.encode(missing)


def test_texts_of_librispeech(tmp_path: Path) -> None:
    for chapter in ("84/121123", "84/121550"):
        folder = tmp_path / chapter
        stem = chapter.replace("/", "-")
        for number in range(2):
            write(folder / f"{stem}-000{number}.flac")
        (folder / f"{stem}.trans.txt").write_text(f"{stem}-0000 GO DO YOU HEAR\n{stem}-0001 BUT {stem}\n")
    packs = packer(tmp_path, transcripts="librispeech", group_pattern="^([0-9]+)/")
    found = {item.name: (item.group, packs.encode(item).members["txt"]) for item in packs.items()}
    assert found == {
        "84/121123/84-121123-0000.flac": ("84", "GO DO YOU HEAR"),
        "84/121123/84-121123-0001.flac": ("84", "BUT 84-121123"),
        "84/121550/84-121550-0000.flac": ("84", "GO DO YOU HEAR"),
        "84/121550/84-121550-0001.flac": ("84", "BUT 84-121550"),
    }


@pytest.mark.parametrize(("name", "content", "message"), [
    ("t.csv", "file,words\na,b\n", r"line 2: expected texts in the columns 'file' and 'text'; found: file, words"),
    ("t.csv", "file,text\na,b\na.wav,c\n", r"t\.csv, line 3: a second transcript of 'a'"),
    ("t.csv", 'file,text\na,"b\n', r"t\.csv, line 1: unexpected end of data"),
    ("t.csv", "", r"t\.csv: no transcripts found"),
    ("t.tsv", "file\ttext\na\n", r"t\.tsv, line 2: expected texts in the columns"),
    ("t.jsonl", '{"file": "a", "text": "b"}\n{"file"\n', r"t\.jsonl, line 2: not JSON"),
    ("t.jsonl", '["a", "b"]\n', r"t\.jsonl, line 1: expected texts in the columns"),
    ("t.jsonl", '{"file": "a", "text": 3}\n', r"t\.jsonl, line 1: expected texts"),
    ("t.xlsx", "", r"expected sidecar, librispeech, or a table whose name ends in \.csv, \.tsv, \.jsonl"),
])  # fmt: skip
def test_damaged_tables_are_refused(name: str, content: str, message: str, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        list(packer(corpus, transcripts=str(tmp_path / name)).items())


def test_missing_transcripts_are_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.csv: cannot be read as UTF-8 text"):
        list(packer(corpus, transcripts=str(tmp_path / "no.csv")).items())
    with pytest.raises(DataError, match="no transcripts found"):
        list(packer(corpus, transcripts="librispeech").items())


@pytest.mark.parametrize(
    "options", [{}, {"encode": "flac"}, {"encode": "wav16", "sample_rate": 4000}, {"min_seconds": 0.1}]
)
def test_damaged_files_are_named(options: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path / "cut.flac", 2.0)
    write(tmp_path / "cut.ogg", 2.0)
    write(tmp_path / "cut.wav")
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-100])
    (tmp_path / "text.wav").write_text("I am a text\n" * 99)
    (tmp_path / "nothing.mp3").write_bytes(b"")
    if "min_seconds" not in options:
        write(tmp_path / "silent.wav", 0)
    packs = packer(tmp_path, **options)
    items = list(packs.items())
    assert len(items) == 5 + ("min_seconds" not in options)
    for item in items:
        with pytest.raises(SampleError, match=f"^{item.content.path}: (cut short|cannot be decoded|empty)"):
            packs.encode(item)


def test_other_formats_are_converted_or_refused(tmp_path: Path) -> None:
    write(tmp_path / "apple.wav", format="AIFF")
    with pytest.raises(SampleError, match=r"apple\.wav: is aiff, expected wav, flac, ogg, mp3; convert it with encode"):
        records(tmp_path)
    assert records(tmp_path, encode="flac")["apple.wav"].length == 4000


def test_a_missing_or_silent_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        list(packer(tmp_path / "nowhere").items())
    with pytest.raises(DataError, match="no recordings found"):
        list(packer(tmp_path).items())


def test_workers_get_no_list_of_items_and_encode_alike(corpus: Path) -> None:
    packs = packer(corpus, encode="flac", sample_rate=6000, labels="folders")
    items = list(packs.items())
    expected = [packs.encode(item) for item in items]
    sent = pickle.dumps(packs)
    assert b"bob-1" not in sent
    worker = pickle.loads(sent)
    assert [worker.encode(pickle.loads(pickle.dumps(item))) for item in items] == expected


@pytest.mark.parametrize(("options", "message"), [
    ({"sample_rate": 8000}, "sample_rate needs encode"),
    ({"cut_seconds": 2.0}, "cut_seconds needs encode"),
    ({"cut_seconds": 2.0, "encode": "flac", "transcripts": "sidecar"}, "separate the recordings from"),
    ({"min_seconds": 2.0, "max_seconds": 1.0}, "below min_seconds"),
    ({"group_pattern": "("}, "not a regular expression"),
    ({"labels": "[a-z]+"}, "has no group"),
])  # fmt: skip
def test_contradictory_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AudioPackOptions(corpus="x", **options)
