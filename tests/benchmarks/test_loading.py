from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from benchmarks.loading import __main__ as command
from benchmarks.loading import cold, cost, coverage, decode, remote, resume, shuffle
from benchmarks.loading.contenders import CannotError, Work, require
from benchmarks.loading.corpora import as_bytes, numbered, payloads
from benchmarks.loading.figures import Report, Spread, interleaved, ratios
from benchmarks.loading.ours import Polytrain
from benchmarks.loading.peers import TarFile, WebDataset
from benchmarks.loading.server import counts, serving
from data.images.decode import decode_image

OURS = "polytrain (full)"


def column(report: Report, name: str, **where: object) -> list[object]:
    return [row[name] for row in report.rows if all(row[key] == value for key, value in where.items())]


def test_every_loader_reads_the_same_samples(tmp_path: Path) -> None:
    corpus = payloads(tmp_path / "corpus", 50, num_samples=40, num_shards=3)
    expected = sorted((bytes(sample["bin"]), bytes(sample["cls"])) for sample in TarFile().samples(Work(corpus)))
    assert len(expected) == 40
    for loader in (Polytrain(), WebDataset()):
        samples = [(bytes(sample["bin"]), bytes(sample["cls"])) for sample in loader.samples(Work(corpus))]
        assert sorted(samples) == expected
        assert samples != expected
        batches = list(loader.batches(Work(corpus, rows=8)))
        assert [tuple(batch["bin"].shape) for batch in batches] == [(8, 50)] * 5
        rows = [bytes(row.numpy()) for batch in batches for row in batch["bin"]]
        assert sorted(rows) == [payload for payload, _ in expected]


def test_cost_has_a_row_for_every_loader(tmp_path: Path) -> None:
    report = cost.run(tmp_path, cost.Sizes((100,), num_samples=64, num_shards=2, repetitions=2))
    assert {OURS, "tarfile (no shuffle)", "webdataset"} <= set(column(report, "loader"))
    for row in report.rows:
        spread = row["samples, us"]
        assert isinstance(spread, Spread)
        assert 0 < spread.low <= spread.median <= spread.high
    assert column(report, "samples, of webdataset's", loader="webdataset") == [Spread(1, 1, 1, 2)]


def test_decode_measures_images_and_texts(tmp_path: Path) -> None:
    sizes = decode.Sizes(
        workers=(0,), rows=4, images=((32, 80, 24),), texts=24, num_shards=2, warm_batches=1, repetitions=1
    )
    report = decode.run(tmp_path, sizes)
    assert len(column(report, "samples/s", loader=OURS)) == 3
    assert len(column(report, "samples/s", loader="webdataset")) == 3


def test_cold_reads_everything(tmp_path: Path) -> None:
    report = cold.run(tmp_path, cold.Sizes(((100, 40),), num_shards=2, window=16, run=4, repetitions=1))
    assert {OURS, "webdataset"} <= set(column(report, "loader"))


def test_our_epochs_visit_every_sample_exactly_once(tmp_path: Path) -> None:
    report = coverage.run(tmp_path, coverage.QUICK)
    assert column(report, "exactly once", loader=OURS) == [1.0, 1.0]
    assert column(report, "drawn", loader=OURS) == [84, 84]
    assert [row for row in report.rows if row["exactly once"] != 1.0]
    for row in report.rows:
        assert np.isclose(sum(float(str(row[name])) for name in ("exactly once", "never", "more than once")), 1)


def test_remote_counts_the_requests_of_each_loader(tmp_path: Path) -> None:
    sizes = remote.Sizes(((50, 20),), num_shards=2, threads=(2,), latency_s=0.001, repetitions=1, warm_up=0)
    report = remote.run(tmp_path, sizes)
    requests = {str(row["loader"]): row["requests, epoch 1"] for row in report.rows}
    assert requests["webdataset"] == Spread(2, 2, 2, 1)
    assert isinstance(requests["polytrain, ranges, 2 at a time"], Spread)
    assert requests["polytrain, ranges, 2 at a time"].median >= 20
    assert isinstance(requests["polytrain, cache, 2 at a time"], Spread)
    assert requests["polytrain, cache, 2 at a time"].median < 20


@pytest.mark.processes
def test_a_restart_repeats_and_loses_nothing(tmp_path: Path) -> None:
    report = resume.run(tmp_path, resume.QUICK)
    assert column(report, "right batches") == ["1 of 1", "1 of 1"]
    (ours,) = (row for row in report.rows if row["loader"] == "polytrain")
    assert [ours[f"repeated / lost, {what} ranks"] for what in ("1 -> 1", "1 -> 2")] == ["0 / 0 of 64"] * 2


def test_shuffle_tells_a_good_order_from_a_poor_one(tmp_path: Path) -> None:
    report = shuffle.run(tmp_path, shuffle.QUICK)
    same_shard = {str(row["order"]): row["same shard"] for row in report.rows}
    poor, good, reference = (same_shard[name] for name in ("webdataset, shuffle(10)", OURS, "a random permutation"))
    assert isinstance(poor, Spread)
    assert isinstance(good, Spread)
    assert isinstance(reference, Spread)
    assert poor.median > 0.8
    assert abs(good.median - reference.median) < 0.1


def test_label_entropy_and_rank_correlation() -> None:
    assert shuffle.label_entropy(np.array([0, 0, 1, 1]), 2) == 0
    assert shuffle.label_entropy(np.array([0, 1, 0, 1]), 2) == 1
    assert shuffle.rank_correlation(np.arange(9), np.arange(9) ** 3) == pytest.approx(1)
    assert shuffle.rank_correlation(np.arange(9), -np.arange(9)) == pytest.approx(-1)


def test_the_server_serves_ranges(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(100)))
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "file").write_bytes(bytes(range(100)))

    def get(path: str, asked: str) -> bytes:
        request = urllib.request.Request(f"{address}/{path}", headers={"Range": asked})
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 206
            content: bytes = answer.read()
        return content

    with serving(tmp_path / "served", 0) as address:
        assert get("file", "bytes=10-19") == bytes(range(10, 20))
        assert get("file", "bytes=90-") == bytes(range(90, 100))
        assert get("file", "bytes=-5") == bytes(range(95, 100))
        assert counts(address) == {"requests": 3, "bytes": 25}
        for path, asked, status in (
            ("missing", "bytes=0-1", 404),
            ("../file", "bytes=0-1", 404),
            ("file", "bytes=100-", 416),
        ):
            with pytest.raises(urllib.error.HTTPError) as error:
                get(path, asked)
            assert error.value.code == status


def test_photo_like_images_are_images(tmp_path: Path) -> None:
    corpus = decode.images(tmp_path / "images", 48, 90, 2, 1)
    first, second = (decode_image(sample["jpg"]) for sample in TarFile().samples(Work(corpus)))
    assert first.shape == (48, 48, 3)
    assert (first != second).any()
    assert first.std() > 20


def test_repetitions_are_interleaved_and_the_first_is_left_out() -> None:
    calls: list[tuple[str, int]] = []

    def measure(name: str) -> object:
        return lambda number: calls.append((name, number)) or float(number)

    found = interleaved({name: measure(name) for name in "ab"}, 2)
    assert calls == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert found == {"a": [1, 2], "b": [1, 2]}
    assert ratios([2, 8, 3], [1, 2, 3]) == Spread(median=2, low=1, high=4, count=3)


def test_a_table_shows_medians_and_ranges_and_who_is_missing() -> None:
    report = Report(
        "Title", [{"loader": "a", "us": Spread.of([3, 1, 2.345])}, {"loader": "b", "n": 12345}], ["c left out"]
    )
    assert report.markdown().splitlines()[2:] == [
        "| loader | us | n |", "|---|---|---|", "| a | 2.35 [1, 3] |  |", "| b |  | 12,345 |", "", "- c left out",
    ]  # fmt: skip
    assert json.loads(json.dumps(report.tree()))["rows"][0]["us"]["median"] == 2.345


def test_a_loader_that_is_not_installed_says_so() -> None:
    with pytest.raises(CannotError, match="thing is not installed"):
        require("polytrain_has_no_such_module.part", "thing")


def test_the_command_prints_tables_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["coverage", "--quick", "--folder", str(tmp_path), "--json", str(tmp_path / "figures.json")])
    assert f"| 3 | {OURS} | 1 |" in capsys.readouterr().out
    tree = json.loads((tmp_path / "figures.json").read_text())
    assert tree["quick"] is True
    assert len(tree["reports"][0]["rows"]) == 8
    assert tree["machine"]["webdataset"] != "not installed"
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


def test_numbered_samples_say_which_they_are(tmp_path: Path) -> None:
    corpus = numbered(tmp_path / "numbered", [2, 3])
    assert [sample["id"] for sample in TarFile().samples(Work(corpus))] == [b"0", b"1", b"2", b"3", b"4"]
    assert as_bytes(b"\x01\x02").tolist() == [1, 2]
