"""Checks of one node, and what is made of the findings of many; GPUs are doubled."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from configs.errors import ConfigError
from data.packing.driver import pack
from data.packing.text.options import TextPackOptions
from launch.preflight import devices, space, versions
from launch.preflight.data import readable
from launch.preflight.judge import add_results, judge
from launch.preflight.limits import Limit, limited
from launch.preflight.links import add_all_together, add_pairs
from launch.preflight.network import known_sum, known_values, rounds, without_broken_pairs
from launch.preflight.place import Place, expand_hosts, find_place
from launch.preflight.recipe import examine
from launch.preflight.report import CHECKS, Result, checked
from launch.preflight.session import with_recipe
from launch.preflight.table import as_text, as_tree
from launch.preflight.verdict import Verdict
from train.recipe import Recipe, load_recipe

ROOT = Path(__file__).parents[2]
QUICKSTART = str(ROOT / "configs" / "quickstart.yaml")


# Where this process is


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("node1", ["node1"]),
        ("gpu[01-03,07],login", ["gpu01", "gpu02", "gpu03", "gpu07", "login"]),
        ("a[9-11]", ["a9", "a10", "a11"]),
        ("rack[1-2]n[08-09]", ["rack1n08", "rack1n09", "rack2n08", "rack2n09"]),
        ("a,b-c,d[1]-ib", ["a", "b-c", "d1-ib"]),
    ],
)
def test_host_lists_of_slurm(text: str, hosts: list[str]) -> None:
    assert expand_hosts(text) == hosts


_TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
_TORCHRUN |= {"MASTER_ADDR": "a", "MASTER_PORT": "7", "TORCHELASTIC_USE_AGENT_STORE": "True"}
_VARIABLES = {"NNODES": "3", "NODE_RANK": "2", "MASTER_ADDR": "a", "MASTER_PORT": "7", "NPROC_PER_NODE": "8"}
_SLURM = {"SLURM_NODEID": "1", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_ID": "12"}


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, Place()),
        (_TORCHRUN, Place(1, 2, "a", 7, local_rank=1, ranks_per_node=4, has_store=True)),
        (_TORCHRUN | {"WORLD_SIZE": "4", "RANK": "1"}, Place(local_rank=1, ranks_per_node=4)),
        (_VARIABLES, Place(2, 3, "a", 7, ranks_per_node=8)),
        (_SLURM, Place(1, 2, "n1", 20_012, ("n1", "n2"))),
        (_SLURM | {"SLURM_LOCALID": "3", "MASTER_PORT": "8"}, Place(1, 2, "n1", 8, ("n1", "n2"), local_rank=3)),
        (_SLURM | {"SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NODELIST": "n2", "SLURM_NODEID": "0"}, Place()),
        (_SLURM | _VARIABLES, Place(2, 3, "a", 7, ranks_per_node=8)),
        (_SLURM | _TORCHRUN, Place(1, 2, "a", 7, local_rank=1, ranks_per_node=4, has_store=True)),
        # What a batch script may set for all of its steps.
        (_SLURM | {"NNODES": "2", "MASTER_ADDR": "m"}, Place(1, 2, "m", 20_012, ("n1", "n2"))),
    ],
)
def test_what_launchers_tell(environment: dict[str, str], place: Place) -> None:
    assert find_place(None, None, None, environment) == place


def test_flags_go_before_the_environment() -> None:
    assert find_place(4, 2, "node00:29400", _SLURM) == Place(2, 4, "node00", 29400)
    assert find_place(4, 2, "[fe80::1]:29400", {}).host == "fe80::1"


@pytest.mark.parametrize(
    ("flags", "environment", "message"),
    [
        ((4, None, None), {}, "belong together"),
        ((4, 4, "a:1"), {}, "node 4 of 4"),
        ((4, 1, "a"), {}, "HOST:PORT"),
        ((None, None, None), {"NNODES": "2"}, "set all of"),
        ((None, None, None), {"NNODES": "1:4", "NODE_RANK": "0"}, "NNODES=1:4: expected a number"),
        ((None, None, None), {"SLURM_JOB_NUM_NODES": "4"}, "not started by srun"),
        ((None, None, None), {"RANK": "0"}, "RANK is set"),
    ],
)
def test_a_place_that_is_none(flags: tuple[Any, Any, Any], environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_place(*flags, environment)


# Limits


def test_what_hangs_is_left_behind() -> None:
    started = time.monotonic()
    result = checked(lambda: time.sleep(30) or Result(), 0.1)
    assert time.monotonic() - started < 5
    assert result.failures == ["no answer within 0.1 s"]


def test_errors_of_a_check_are_its_failures() -> None:
    def broken() -> Result:
        raise RuntimeError("CUDA driver initialization failed")

    assert checked(broken, 5).failures == ["RuntimeError: CUDA driver initialization failed"]
    assert limited(lambda: 7, 5) == 7


def test_a_limit_is_shared_out() -> None:
    limit = Limit(100.0)
    assert 49 < limit.left(0.5) <= 50
    assert Limit(0.0).left() == 0


def test_a_process_that_hangs_is_ended() -> None:
    code = "from launch.preflight.limits import Limit; Limit(0.2).enforce(0.2, 3); import time; time.sleep(60)"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 3
    assert "not done after 0.4 s" in done.stderr
    assert time.monotonic() - started < 20


# One node


def test_versions_are_those_of_the_installed_packages() -> None:
    facts = versions.versions().facts
    assert facts["python"] == sys.version.split()[0]
    assert facts["torch"] == torch.__version__.partition("+")[0] or facts["torch"] == torch.__version__
    assert facts["flash-attn"] is None or isinstance(facts["flash-attn"], str)


def test_the_code_is_known_by_its_content(tmp_path: Path) -> None:
    for room in ("configs", "launch"):
        shutil.copytree(ROOT / room, tmp_path / room)
    before = versions.code_hash(tmp_path)
    assert before == versions.code_hash(tmp_path)
    (tmp_path / "launch" / "cli.py").write_text((ROOT / "launch" / "cli.py").read_text() + "#")
    assert versions.code_hash(tmp_path) != before


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions.psutil, "virtual_memory", lambda: SimpleNamespace(total=64 * 2**30, available=2**30))
    assert versions.system().warnings == ["1 of 64 GiB of memory are free: another program holds the rest"]


def test_a_device_that_computes() -> None:
    assert devices.computes(torch.device("cpu"))


def test_gpus_that_are_held_or_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    gib = 2**30
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "H100")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: ((40 if number == 1 else 79) * gib, 80 * gib))
    monkeypatch.setattr(devices, "computes", lambda device: device.index != 2)
    result = devices.devices()
    assert result.facts == {"GPUs": 3, "kinds": "H100", "GPU memory": "80 GiB, 80 GiB, 80 GiB"}
    assert result.failures == [
        "GPU 1: 40.0 of 80 GiB are held by another program",
        "GPU 2: a matrix product has wrong values",
    ]


def _smi(**changes: str) -> str:
    """The report of a node with two GPUs, in the names of driver 550; `changes` are those of the second one."""
    healthy = {"dram": "0", "sram": "0", "failure": "No", "pending": "No", "thermal": "Not Active"}
    gpus = [_GPU.format(**healthy), _GPU.format(**healthy | changes)]
    return f"<?xml version='1.0' ?><nvidia_smi_log>{''.join(gpus)}</nvidia_smi_log>"


_GPU = """\
<gpu id="00000000:19:00.0">
  <product_name>NVIDIA H100 80GB HBM3</product_name>
  <ecc_errors>
    <volatile>
      <sram_correctable>4</sram_correctable>
      <sram_uncorrectable_parity>{sram}</sram_uncorrectable_parity>
      <sram_uncorrectable_secded>N/A</sram_uncorrectable_secded>
      <dram_correctable>2</dram_correctable>
      <dram_uncorrectable>{dram}</dram_uncorrectable>
    </volatile>
    <aggregate><dram_uncorrectable>9</dram_uncorrectable></aggregate>
  </ecc_errors>
  <remapped_rows>
    <remapped_row_pending>{pending}</remapped_row_pending>
    <remapped_row_failure>{failure}</remapped_row_failure>
  </remapped_rows>
  <temperature><gpu_temp>88 C</gpu_temp></temperature>
  <clocks_event_reasons>
    <clocks_event_reason_gpu_idle>Active</clocks_event_reason_gpu_idle>
    <clocks_event_reason_sw_power_cap>Active</clocks_event_reason_sw_power_cap>
    <clocks_event_reason_hw_thermal_slowdown>{thermal}</clocks_event_reason_hw_thermal_slowdown>
  </clocks_event_reasons>
</gpu>
"""


@pytest.mark.parametrize(
    ("changes", "failures"),
    [
        ({}, []),
        ({"dram": "3", "sram": "1"}, ["GPU 1: 4 uncorrectable memory error(s) (ECC) since the driver started"]),
        ({"dram": "N/A", "sram": "N/A"}, []),
        ({"failure": "Yes"}, ["GPU 1: a broken row of its memory could not be replaced"]),
        ({"pending": "Yes"}, ["GPU 1: a broken row of its memory is replaced at the next reset; reset it"]),
        ({"thermal": "Active"}, ["GPU 1: clocks are slowed down (hw_thermal_slowdown) at 88 C"]),
    ],
)
def test_health_as_the_driver_reports_it(changes: dict[str, str], failures: list[str]) -> None:
    assert devices.health_of_driver(_smi(**changes)).failures == failures


def test_older_drivers_call_it_throttling() -> None:
    older = _smi(thermal="Active").replace("clocks_event_reason", "clocks_throttle_reason")
    assert devices.health_of_driver(older).failures == ["GPU 1: clocks are slowed down (hw_thermal_slowdown) at 88 C"]


def test_hardware_errors_in_the_log_of_the_kernel() -> None:
    log = """\
[   12.1] NVRM: loading NVIDIA UNIX x86_64 Kernel Module  550.54.15
[  812.4] NVRM: Xid (PCI:0000:65:00): 31, pid=4711, name=python, MMU Fault: ENGINE GRAPHICS
[  900.0] NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus.
[  900.1] NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus.
[  901.2] NVRM: Xid (PCI:0000:83:00.0): 48, pid=99, DBE
"""
    assert devices.health_of_log(log) == [
        "GPU at 0000:3b:00: Xid 79 (fallen off the bus) since the node started",
        "GPU at 0000:83:00.0: Xid 48 (double-bit memory error) since the node started",
    ]


def test_a_driver_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    monkeypatch.setattr(devices.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(
        devices.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=9, stdout=said, stderr="")
    )
    (failure,) = devices.health().failures
    assert said in failure


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "texts").mkdir()
    for number in range(40):
        (folder / "texts" / f"{number}.py").write_text(f"def f{number}(x):\n    return x + {number}\n" * 40)
    options = TextPackOptions(corpus=str(folder / "texts"), vocab_size=300, validation=0.2, shard_mb=0.02)
    pack(options, folder / "packed")
    return folder / "packed"


def _overrides(shards: Path, tmp_path: Path, *more: str) -> list[str]:
    paths = [f"data.{split}.shards={shards}/{split}-*.tar" for split in ("train", "validation")]
    return [f"run={tmp_path / 'run'}", *paths, f"data.tokenizer={shards}/tokenizer.json", *more]


def _recipe(shards: Path, tmp_path: Path, *more: str) -> Recipe:
    return load_recipe(QUICKSTART, _overrides(shards, tmp_path, *more))


def test_a_recipe_on_so_many_ranks(shards: Path, tmp_path: Path) -> None:
    overrides = _overrides(shards, tmp_path)
    good = examine(QUICKSTART, overrides, num_ranks=4)
    assert good.result.failures == []
    assert good.parameters == good.result.figures["parameters"] > 1e6
    other = examine(QUICKSTART, [*overrides, "seed=1"], num_ranks=4)
    assert other.result.facts != good.result.facts
    bad = examine(QUICKSTART, overrides, num_ranks=3)
    assert "on 3 rank(s)" in bad.result.failures[0]
    assert bad.recipe is not None
    none = examine(QUICKSTART, [*overrides, "model.dims=3"], num_ranks=4)
    assert none.recipe is None
    assert "dims" in none.result.failures[0]


def test_shards_that_can_be_read(shards: Path, tmp_path: Path) -> None:
    result = readable(_recipe(shards, tmp_path))
    count = len(list(shards.glob("train-*.tar")))
    assert count >= 3
    assert result.facts["shards of data.train"] == count
    assert result.figures["bytes per row"] >= 128 * 2
    assert {name for name in result.facts if name.startswith("content")} == {
        "content of data.train",
        "content of data.validation",
    }


def test_a_damaged_last_shard_and_no_shard(shards: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(shards, copy)
    last = sorted(copy.glob("train-*.tar"))[-1]
    recipe = _recipe(copy, tmp_path)
    whole = last.read_bytes()
    last.write_bytes(whole[: len(whole) // 2])
    result = checked(lambda: readable(recipe), 30)
    assert str(last) in result.failures[0]
    assert "truncated" in result.failures[0]
    last.unlink()
    others = [f"data.train.shards={copy}/other-*.tar"]
    assert "no such shard" in checked(lambda: readable(_recipe(copy, tmp_path, *others)), 30).failures[0]


def _disk(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(space.shutil, "disk_usage", lambda folder: SimpleNamespace(total=10**12, free=free))


def test_checkpoints_need_three_numbers_a_parameter(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = _recipe(shards, tmp_path, "checkpoint.keep_last=2")
    needed = 10**8 * 3 * 4 * 3
    _disk(monkeypatch, needed)
    assert space.space(recipe, 10**8, 0, 1).failures == []
    _disk(monkeypatch, needed - 1)
    (failure,) = space.space(recipe, 10**8, 0, 1).failures
    assert failure.startswith(f"{tmp_path} has 3.6 GB free, checkpoints need 3.6 GB")
    # What an earlier start wrote will be replaced.
    (tmp_path / "run" / "checkpoints" / "step-1").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "step-1" / "rank-0").write_bytes(b"1")
    assert space.space(recipe, 10**8, 0, 1).failures == []


def test_caches_and_loader_workers_need_room(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = _recipe(shards, tmp_path, f"data.cache.folder={tmp_path}", "data.cache.size_gb=2", "data.workers=2")
    _disk(monkeypatch, 10**9)
    # 8 steps ahead, 16 rows each, on two nodes
    cache, workers = space.space(recipe, 1, row_bytes=20_000_000, num_nodes=2).failures
    assert cache.startswith(f"{tmp_path} has 1 GB free, data.cache need 2 GB")
    assert workers.startswith("/dev/shm has 1 GB free")
    assert "need 1.28 GB" in workers


def test_a_folder_that_cannot_be_written(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space.os, "access", lambda folder, mode: folder != tmp_path)
    failures = space.space(_recipe(shards, tmp_path), 1, 0, 1).failures
    assert failures == [
        f"{tmp_path} cannot be written (checkpoints); choose another folder (run=...), or lower checkpoint.keep_last"
    ]


# All nodes


@pytest.mark.parametrize("count", [2, 3, 4, 7, 8, 33])
def test_everybody_meets_everybody_once(count: int) -> None:
    made = list(rounds(count))
    assert len(made) == (count - 1 if count % 2 == 0 else count)
    for pairs in made:
        players = [player for pair in pairs for player in pair]
        assert len(players) == len(set(players)) == count - count % 2
    met = [pair for pairs in made for pair in pairs]
    assert sorted(met) == [(a, b) for a in range(count) for b in range(a + 1, count)]


@pytest.mark.parametrize(
    ("missed", "together"),
    [
        ({0: [], 1: [], 2: []}, [0, 1, 2]),
        ({0: [2], 1: [2], 2: [0, 1], 3: []}, [0, 1, 3]),
        ({0: [], 1: [3], 2: [3], 3: [1, 2]}, [0, 1, 2]),
        ({0: [1], 1: [0]}, [1]),
        ({0: [2], 1: [2]}, [0, 1]),  # 2 was lost
        ({0: [], 1: [2], 2: []}, [0, 2]),  # it was enough for one of them
    ],
)
def test_all_together_are_those_that_reach_each_other(missed: dict[int, list[int]], together: list[int]) -> None:
    assert without_broken_pairs(missed) == together


def test_known_sums_are_sums() -> None:
    summed = torch.stack([known_values(1000, rank) for rank in range(5)]).sum(0)
    assert torch.equal(summed, known_sum(1000, 5))
    assert not torch.equal(known_values(1000, 1), known_values(1000, 2))


def _verdict(count: int = 4) -> Verdict:
    return Verdict([f"node{rank:02d}" for rank in range(count)], {})


def _texts(verdict: Verdict) -> list[str]:
    return [f"{problem.level} {problem.text}" for problem in verdict.problems]


def _versions(values: Mapping[int, Any], check: str = "versions") -> list[str]:
    verdict = _verdict(len(values))
    add_results(verdict, {rank: {check: Result(facts={"torch": value})} for rank, value in values.items()})
    return _texts(verdict)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["2.14.0"] * 4, []),
        (["2.14.0", "2.14.0", "2.13.0", "2.14.0"], ["FAIL node02: torch 2.13.0, 3 others have 2.14.0"]),
        (["2.14.0", "2.14.0", None, "2.14.0"], ["FAIL node02: torch missing, 3 others have 2.14.0"]),
        (
            ["2.14.0", "2.12.0", "2.13.0", "2.14.0"],
            ["FAIL node01: torch 2.12.0, 2 others have 2.14.0", "FAIL node02: torch 2.13.0, 2 others have 2.14.0"],
        ),
        (
            ["2.14.0", "2.13.0"],
            ["FAIL torch differs (node00: 2.14.0; node01: 2.13.0), and no value has a majority"],
        ),
        (
            ["1", "1", "2", "2"],
            ["FAIL torch differs (node00, node01: 1; node02, node03: 2), and no value has a majority"],
        ),
    ],
)
def test_the_odd_one_is_named(values: list[Any], said: list[str]) -> None:
    assert _versions(dict(enumerate(values))) == said


def test_a_check_that_broke_off_is_not_compared() -> None:
    verdict = _verdict(3)
    results = [Result(facts={"torch": "2.14.0"}), Result(facts={"torch": "2.14.0"}), Result(failures=["no answer"])]
    add_results(verdict, {rank: {"versions": result} for rank, result in enumerate(results)})
    assert _texts(verdict) == ["FAIL node02: no answer"]


def test_what_node_0_does_not_see_is_a_failure_of_who_wrote_it() -> None:
    verdict = _verdict(3)
    add_results(verdict, {0: {"shared": Result(figures={"not seen": [2]})}, 2: {"shared": Result()}})
    assert _texts(verdict) == ["FAIL node02: what it writes to the run folder does not appear on node00"]


def test_kernels_may_differ() -> None:
    assert _versions({0: "6.1", 1: "6.1", 2: "5.4"}, "system") == ["warn node02: torch 5.4, 2 others have 6.1"]


def test_what_many_nodes_say_is_said_once() -> None:
    verdict = _verdict()
    full = Result(failures=["/scratch has 0 MB free"])
    add_results(verdict, {rank: {"space": full} for rank in range(4)})
    add_results(verdict, {rank: {"data": full if rank < 2 else Result()} for rank in range(4)})
    assert _texts(verdict) == [
        "FAIL all 4 nodes: /scratch has 0 MB free",
        "FAIL node00, node01: /scratch has 0 MB free",
    ]
    assert [verdict.status(rank, "data") for rank in range(4)] == ["FAIL", "FAIL", "ok", "ok"]
    assert verdict.status(0, "clock") == "-"


def _met(count: int, errors: set[tuple[int, int]] = frozenset(), **speeds: float) -> dict[int, dict[int, Any]]:  # type: ignore[assignment]
    """Meetings of all pairs: some fail, the others run at 10 GB/s, or at speeds["_0_1"]."""

    def outcome(a: int, b: int) -> dict[str, Any]:
        low, high = min(a, b), max(a, b)
        if (low, high) in errors:
            return {"error": "connection timed out"}
        return {"speeds": {"gloo": {"latency_us": 50.0, "gb_per_s": speeds.get(f"_{low}_{high}", 10.0)}}}

    return {a: {b: outcome(a, b) for b in range(count) if b != a} for a in range(count)}


def _of_pairs(count: int, *arguments: Any, **speeds: float) -> list[str]:
    verdict = _verdict(count)
    add_pairs(verdict, _met(count, *arguments, **speeds))
    return _texts(verdict)


def test_healthy_pairs() -> None:
    assert _of_pairs(4) == []
    assert _of_pairs(2, _0_1=0.001) == []  # nobody to compare with


def test_a_node_that_nobody_reaches_is_named() -> None:
    assert _of_pairs(4, {(0, 2), (1, 2), (2, 3)}) == [
        "FAIL node02: all-reduce with 3 of 3 other nodes fails (connection timed out)"
    ]


def test_two_nodes_that_do_not_reach_each_other() -> None:
    said = "FAIL node00, node02: all-reduce between them fails (connection timed out)"
    assert _of_pairs(4, {(0, 2)}) == [said]
    said = "FAIL all 2 nodes: all-reduce between them fails (connection timed out)"
    assert _of_pairs(2, {(0, 1)}) == [said]


def test_a_slow_node_and_a_slow_pair() -> None:
    said = "warn node02: gloo: 4 GB/s with others, 40% of the median (10 GB/s)"
    assert _of_pairs(3, _0_2=4.0, _1_2=4.0) == [said]
    assert _of_pairs(4, _0_2=4.0, _1_2=4.0, _2_3=4.0) == [said]
    assert _of_pairs(4, _1_2=4.0) == ["warn node01, node02: gloo: 4 GB/s between them, 40% of the median (10 GB/s)"]


def test_a_pair_that_is_slow_by_far() -> None:
    assert _of_pairs(4, _1_2=0.5) == ["FAIL node01, node02: gloo: 0.5 GB/s between them, 5% of the median (10 GB/s)"]


def test_pairs_that_the_time_was_too_short_for() -> None:
    verdict = _verdict(3)
    met = _met(3)
    del met[0][1], met[1][0]
    add_pairs(verdict, met)
    assert _texts(verdict) == ["warn all 3 nodes: 1 of 3 pairs were not tried: the time was over; raise --timeout"]


def test_all_reduce_of_all() -> None:
    verdict = _verdict(3)
    add_all_together(verdict, {0: {"speeds": {}}, 1: {"speeds": {}}, 2: {"error": "3 of the sums are wrong"}})
    assert _texts(verdict) == ["FAIL node02: all-reduce of 3 nodes fails (3 of the sums are wrong)"]


def test_speeds_are_those_of_the_median_pair_and_of_the_slowest_node() -> None:
    verdict = _verdict(3)
    add_pairs(verdict, _met(3, _0_1=8.0))
    together = {rank: {"speeds": {"gloo": {"latency_us": 70.0, "gb_per_s": 5.0 + rank}}} for rank in range(3)}
    add_all_together(verdict, together)
    assert verdict.speeds == [
        "gloo, 3 pair(s), median: 10 GB/s (bus), 50 us for a small message",
        "gloo, 3 nodes together: 5 GB/s (bus), 70 us for a small message",
    ]


def test_the_table_has_a_line_for_each_node_and_each_problem() -> None:
    verdict = _verdict(2)
    add_results(verdict, {0: {"versions": Result()}, 1: {"versions": Result(failures=["too old"], warnings=["odd"])}})
    lines = as_text(verdict, 1.23).splitlines()
    assert lines[0].split() == ["node", *CHECKS]
    assert lines[1].split()[:3] == ["node00", "-", "ok"]
    assert lines[2].split()[:3] == ["node01", "-", "FAIL"]
    assert lines[4:6] == ["FAIL  versions: node01: too old", "warn  versions: node01: odd"]
    assert lines[-1] == "1 of 2 node(s) with failures  (1.2 s)"
    tree = as_tree(verdict, {})
    assert not tree["ok"]
    assert tree["problems"][0]["nodes"] == ["node01"]


def test_warnings_do_not_fail() -> None:
    verdict = _verdict(1)
    add_results(verdict, {0: {"clock": Result(warnings=["late"])}})
    assert not verdict.has_failed
    assert verdict.status(0, "clock") == "warn"


def test_nodes_that_never_report_and_that_are_lost() -> None:
    place = Place(0, 3, "node00", 29400, ("node00", "node01", "node02"))
    report = {"versions": asdict(Result(facts={"torch": "2.14.0"}))}
    outcome = {"results": {"clock": asdict(Result())}, "pairs": {}}
    verdict = judge(place, list(place.names), {0: report, 2: report}, {0: outcome})
    assert [(problem.ranks, problem.text.partition(":")[0]) for problem in verdict.problems] == [
        ((1,), "node01"),
        ((2,), "node02"),
    ]
    assert "cannot reach node 0 at node00:29400" in verdict.problems[0].text
    assert "was lost" in verdict.problems[1].text
    assert [verdict.status(rank, "report") for rank in range(3)] == ["ok", "FAIL", "FAIL"]
    assert verdict.status(0, "clock") == "ok"


def test_a_node_0_that_nobody_reaches() -> None:
    place = Place(0, 3, "node00", 29400, ("node00", "node01", "node02"))
    problems = judge(place, list(place.names), {0: {}}, {0: {"results": {}}}).problems
    assert [problem.ranks for problem in problems] == [(1,), (2,), (0,)]
    assert problems[-1].text == "node00: no other node reached this one: it may be the broken one"


def test_only_nodes_that_read_the_recipe_look_at_its_folder() -> None:
    def report(*facts: str) -> dict[str, Any]:
        return {"recipe": asdict(Result(facts=dict.fromkeys(facts, "1")))}

    assert with_recipe({0: report("recipe"), 1: report(), 2: report("recipe")}) == [0, 2]
    assert with_recipe({0: report(), 1: report("recipe"), 2: report("recipe")}) == []
    assert with_recipe({0: {}, 1: {}}) == []


# The command


def _preflight(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "launch.cli", "preflight", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_alone_on_this_machine() -> None:
    done = _preflight()
    assert done.returncode == 0, done.stderr
    assert "1 node(s) can train" in done.stdout


def test_node_0_does_not_answer() -> None:
    done = _preflight("--nodes=2", "--node-rank=1", "--master=localhost:9", "--timeout=4")
    assert done.returncode == 3
    assert "node 1 cannot reach node 0 at localhost:9" in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_arguments() -> None:
    done = _preflight("--nodes=2")
    assert done.returncode == 2
    assert "belong together" in done.stderr
