"""Files behind URLs: the bytes that were asked for, or an error that says which were not to be had."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import DataError
from data.remote import RemoteFile, Retry, read_together
from data.sample import SampleError
from data.storage import NoSuchFile

Memory = Callable[[str, bytes], str]
CONTENT = bytes(range(256)) * 40
AT_ONCE = Retry(first_wait_s=0.0)

# Any web server that these tests start; the class lives in conftest.py, which cannot be imported.
Web = Any


@pytest.fixture
def served(web: Web) -> tuple[Web, RemoteFile]:
    (web.folder / "a.bin").write_bytes(CONTENT)
    return web, RemoteFile(web.url("a.bin"), AT_ONCE)


ranges = st.tuples(st.integers(0, len(CONTENT)), st.integers(0, 700)).filter(lambda r: sum(r) <= len(CONTENT))


@settings(max_examples=30, deadline=None)
@given(asked=st.lists(ranges, max_size=10))
def test_any_ranges_are_read_in_their_order(asked: list[tuple[int, int]]) -> None:
    import fsspec

    fsspec.filesystem("memory").pipe_file("/ranges", CONTENT)
    file = RemoteFile("memory://ranges", AT_ONCE)
    expected = [CONTENT[offset : offset + size] for offset, size in asked]
    assert file.read_many(asked) == expected
    assert [file.read(offset, size) for offset, size in asked] == expected
    assert (file.size(), file.read_all()) == (len(CONTENT), CONTENT)


def test_ranges_are_read_over_http(served: tuple[Web, RemoteFile]) -> None:
    web, file = served
    asked = [(5, 10), (0, 1), (len(CONTENT) - 3, 3), (0, len(CONTENT)), (9, 0)]
    assert file.read_many(asked) == [CONTENT[offset : offset + size] for offset, size in asked]
    assert file.read(700, 30) == CONTENT[700:730]
    assert file.size() == len(CONTENT)
    assert "/a.bin bytes=700-729" in web.gets


def test_many_ranges_are_requested_at_the_same_time(served: tuple[Web, RemoteFile]) -> None:
    web, file = served
    (web.folder / "b.bin").write_bytes(CONTENT[::-1])
    other = RemoteFile(web.url("b.bin"))
    web.latency_s = 0.2
    found = read_together([(file, 3, 4), (other, 5, 6)] * 4)
    assert found == [CONTENT[3:7], CONTENT[::-1][5:11]] * 4
    assert web.most_at_once >= 4


@pytest.mark.parametrize(
    "faults",
    [["503", "500", "none"], ["429", "none"], ["reset", "cut", "none"], ["short", "another range", "none"]],
)
@pytest.mark.parametrize("together", [False, True])
def test_what_passes_is_tried_again(served: tuple[Web, RemoteFile], faults: list[str], together: bool) -> None:
    web, file = served
    web.faults = list(faults)
    found = file.read_many([(100, 50)])[0] if together else file.read(100, 50)
    assert found == CONTENT[100:150]
    # One more than was said to fail; aiohttp itself may repeat one on a connection that it had kept.
    assert len(web.gets) >= len(faults)


@pytest.mark.parametrize("fault", ["503", "reset", "cut", "short", "another range"])
def test_what_does_not_pass_is_an_error_with_url_range_and_attempts(served: tuple[Web, RemoteFile], fault: str) -> None:
    web, file = served
    web.faults = [fault]
    with pytest.raises(SampleError, match=r"cannot read 50 bytes at 100 \(4 attempts\)") as caught:
        file.read(100, 50)
    assert str(caught.value).startswith(web.url("a.bin"))


@pytest.mark.parametrize("fault", ["403", "401", "ignores the range", "ignores the range and stops"])
def test_what_will_not_change_is_not_tried_again(served: tuple[Web, RemoteFile], fault: str) -> None:
    web, file = served
    web.faults = [fault]
    with pytest.raises(SampleError, match=r"cannot read 50 bytes at 100 \(1 attempt\)") as caught:
        file.read(100, 50)
    assert len(web.gets) == 1
    assert ("ignores Range" in str(caught.value)) == fault.startswith("ignores")


@pytest.mark.parametrize("fault", ["ignores the range", "ignores the range and stops", "cut", "compressed"])
@pytest.mark.parametrize("asked", [(0, 50), (100, 50), (0, len(CONTENT)), (len(CONTENT) - 50, 50)])
def test_a_faulty_server_gives_the_right_bytes_or_an_error(
    served: tuple[Web, RemoteFile], fault: str, asked: tuple[int, int]
) -> None:
    web, file = served
    web.faults = [fault]
    offset, size = asked
    for read in (lambda: file.read(offset, size), lambda: file.read_many([asked])[0]):
        try:
            found = read()
        except SampleError as error:
            assert f"{size} bytes at {offset}" in str(error)  # noqa: PT017 - either outcome is right
        else:
            assert found == CONTENT[offset : offset + size]


def test_a_file_that_shrinks_or_goes_is_noticed(served: tuple[Web, RemoteFile]) -> None:
    web, file = served
    (web.folder / "a.bin").write_bytes(CONTENT[:120])
    with pytest.raises(SampleError, match="sent bytes 100-119/120"):
        file.read(100, 50)
    (web.folder / "a.bin").unlink()
    with pytest.raises(NoSuchFile, match=r"a\.bin: no such file"):
        file.read(100, 50)
    with pytest.raises(NoSuchFile):
        file.size()


def test_a_size_is_asked_again_and_a_server_in_trouble_is_not_a_missing_file(
    served: tuple[Web, RemoteFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    web, file = served
    web.stop()
    with pytest.raises(SampleError, match=r"cannot read its size \(4 attempts\)") as caught:
        file.size()
    assert not isinstance(caught.value, NoSuchFile)


def test_a_short_object_is_an_error(memory: Memory) -> None:
    file = RemoteFile(memory("short", b"12345"), AT_ONCE)
    with pytest.raises(SampleError, match=r"memory://short: cannot read 4 bytes at 3 \(4 attempts\): .*2 bytes came"):
        file.read(3, 4)
    with pytest.raises(SampleError, match="4 bytes at 3"):
        file.read_many([(0, 2), (3, 4)])


def test_waits_between_attempts_grow(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("data.remote.time.sleep", waits.append)
    with pytest.raises(SampleError):
        RemoteFile(memory("short", b"12345")).read(3, 4)
    assert waits == [0.25, 1.0, 4.0]


def test_an_unknown_kind_of_url_is_refused() -> None:
    with pytest.raises(DataError, match=r"gopher://x/a\.tar: .*gopher"):
        RemoteFile("gopher://x/a.tar")


@pytest.mark.parametrize(
    ("url", "module", "named"), [("http://x/a", "aiohttp", "aiohttp"), ("s3://x/a", "s3fs", "s3fs")]
)
def test_a_missing_package_is_named(url: str, module: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in (module, "fsspec")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=named) as caught:
        RemoteFile(url)
    assert str(caught.value).startswith(f"{url}: ")


def test_the_user_s_own_settings_of_fsspec_hold_for_http(
    served: tuple[Web, RemoteFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.config import conf

    from data.remote import file_system

    monkeypatch.setitem(conf, "http", {"client_kwargs": {"headers": {"X-Key": "secret"}}})
    system, _ = file_system(served[1].name)
    assert system.client_kwargs["headers"] == {"X-Key": "secret", "Accept-Encoding": "identity"}


def test_any_file_system_of_fsspec_will_do(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(CONTENT)
    assert RemoteFile(f"file://{tmp_path}/a.bin", AT_ONCE).read(3, 4) == CONTENT[3:7]
