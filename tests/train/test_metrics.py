from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from train.metrics import MetricsLog, read_rows


def row(step: int, **changes: Any) -> dict[str, Any]:
    return {
        "step": step,
        "loss": 1 / step,
        "lr": 0.1,
        "grad_norm": 2.0,
        "tokens_per_s": 10.0,
        "data_wait_s": 0.0,
    } | changes


def write(path: Path, steps: list[int], *, resumed_from: int = 0, **changes: Any) -> None:
    with MetricsLog(path, step=resumed_from, last=10) as log:
        for step in steps:
            log.step(row(step, **changes))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def test_what_is_written_is_read_back_in_order(path: Path) -> None:
    with MetricsLog(path, step=0, last=10) as log:
        log.step(row(1))
        log.probe("validation", 1, {"loss": 3.5, "targets": 7})
        log.step(row(2))
    assert read_rows(path) == [row(1), {"step": 1, "probe": "validation", "loss": 3.5, "targets": 7}, row(2)]


def test_a_row_is_on_disk_as_soon_as_it_is_logged(path: Path) -> None:
    with MetricsLog(path, step=0, last=10) as log:
        log.step(row(1))
        assert read_rows(path) == [row(1)]


def test_a_missing_file_has_no_rows(path: Path) -> None:
    assert read_rows(path) == []


def test_bytes_that_are_no_text_are_no_row(path: Path) -> None:
    path.write_bytes(b'{"step": 1}\n\x00\xff\xfe\n{"step": 2}\n')
    assert read_rows(path) == [{"step": 1}, {"step": 2}]


def test_reopening_drops_the_rows_beyond_the_checkpoint_and_no_others(path: Path) -> None:
    write(path, [1, 2, 3, 4])
    with MetricsLog(path, step=4, last=10) as log:
        log.probe("validation", 4, {"loss": 1.0})
        log.probe("validation", 5, {"loss": 0.9})
    write(path, [5, 6], resumed_from=4)
    write(path, [4, 5], resumed_from=3)
    assert [item["step"] for item in read_rows(path)] == [1, 2, 3, 4, 5]


def test_an_interrupted_and_resumed_log_equals_an_uninterrupted_one(path: Path) -> None:
    write(path, [1, 2, 3, 4, 5, 6])
    straight = path.read_bytes()
    path.unlink()
    write(path, [1, 2, 3, 4, 5])
    write(path, [4, 5, 6], resumed_from=3)
    assert path.read_bytes() == straight


@pytest.mark.parametrize("lost", [1, 2, 20, 60])
def test_a_torn_last_line_is_dropped_and_written_again(path: Path, lost: int) -> None:
    write(path, [1, 2, 3])
    straight = path.read_bytes()
    path.write_bytes(straight[:-lost])
    # A line that lacks only its end is whole.
    assert [item["step"] for item in read_rows(path)] == ([1, 2, 3] if lost == 1 else [1, 2])
    write(path, [3], resumed_from=2)
    assert path.read_bytes() == straight


def test_reopening_without_anything_to_drop_changes_no_byte(path: Path) -> None:
    write(path, [1, 2, 3], loss=0.1 + 0.2, lr=1e-300)
    before = path.read_bytes()
    write(path, [], resumed_from=3)
    assert path.read_bytes() == before
    assert [item.name for item in path.parent.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_become_null(path: Path, value: float) -> None:
    write(path, [1], grad_norm=value)
    (line,) = path.read_text().splitlines()
    assert json.loads(line, parse_constant=pytest.fail) == row(1, grad_norm=None)


def test_text_of_a_probe_survives_in_ascii(path: Path) -> None:
    text = 'line\nline "quoted" \u00e9\U0001f600\u2028'
    with MetricsLog(path, step=0, last=10) as log:
        log.probe("sample", 1, {"prompt": "", "text": text})
        log.step(row(1))
    # Any of these characters unescaped could split the line for some reader.
    assert path.read_bytes().isascii()
    assert read_rows(path)[0]["text"] == text
    assert len(read_rows(path)) == 2


def test_progress_shows_mfu_where_it_is_known_and_names_a_straggler(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with MetricsLog(path, step=0, last=10) as log:
        log.step(row(2, mfu=0.4125, straggler=None))
        log.step(row(3, mfu=None, straggler="rank 3 on node-7"))
    first, second, third = capsys.readouterr().err.splitlines()
    assert "MFU 41.2%" in first or "MFU 41.3%" in first
    assert "MFU" not in second
    assert third == "step 3/10  straggler: rank 3 on node-7 holds up the others"


class Sink:
    def __init__(self) -> None:
        self.rows: list[tuple[str, dict[str, Any]]] = []
        self.is_closed = False

    def add(self, prefix: str, row: dict[str, Any]) -> None:
        self.rows.append((prefix, row))

    def close(self) -> None:
        self.is_closed = True


def test_whatever_else_takes_rows_gets_them_all_and_is_closed(path: Path) -> None:
    sink = Sink()
    with MetricsLog(path, [sink], step=0, last=10) as log:
        log.step(row(1))
        log.probe("validation", 1, {"loss": 3.5})
        assert not sink.is_closed
    assert sink.rows == [("train", row(1)), ("probe/validation", {"step": 1, "probe": "validation", "loss": 3.5})]
    assert sink.is_closed


def test_progress_is_printed_line_by_line_off_a_terminal(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with MetricsLog(path, step=0, last=10) as log:
        log.step(row(2))
        log.probe("validation", 2, {"loss": 3.5, "targets": 7})
    captured = capsys.readouterr()
    assert captured.out == ""
    first, second = captured.err.splitlines()
    assert first.startswith("step 2/10  loss 0.5000  lr 1.00e-01  norm 2  10 tokens/s")
    assert second == "step 2/10  validation: loss 3.5000"
