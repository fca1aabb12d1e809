from __future__ import annotations

import os

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import ConfigError
from train import command
from train.launchers import torchrun_variables
from train.world import World

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}


# What srun -n4 over two nodes set for its last task, and sbatch for its script (SLURM 22.05).
SLURM_TASK = {
    "SLURM_JOB_ID": "17",
    "SLURM_STEP_ID": "2",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "1",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_STEP_TASKS_PER_NODE": "3,1",
    "SLURM_TASKS_PER_NODE": "3,1",
}
SLURM_SCRIPT = {"SLURM_JOB_ID": "17", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
OPENMPI = {
    "OMPI_COMM_WORLD_RANK": "5",
    "OMPI_COMM_WORLD_SIZE": "8",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without launchers; what is written into it is gone after the test."""
    ours = ("RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "SLURM_", "OMPI_", "CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(os, "environ", {name: text for name, text in os.environ.items() if not name.startswith(ours)})
    return monkeypatch


def test_without_a_launcher_there_is_one_process(environment: pytest.MonkeyPatch) -> None:
    # Schedulers set WORLD_SIZE too; only RANK says that a launcher started this process.
    environment.setenv("WORLD_SIZE", "8")
    world = World.from_environment()
    assert world == World(rank=0, size=1, local_rank=0, local_size=1, is_launched=False)
    assert world.is_main


def test_torchruns_variables_are_read(environment: pytest.MonkeyPatch) -> None:
    for name, value in TORCHRUN.items():
        environment.setenv(name, value)
    world = World.from_environment()
    assert world == World(rank=3, size=4, local_rank=1, local_size=2, is_launched=True)
    assert not world.is_main


@pytest.mark.parametrize("value", [None, "", "two", "1.5", "-1"])
@pytest.mark.parametrize("name", ["WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"])
def test_a_missing_or_odd_variable_is_refused_by_name(
    environment: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    for other, sane in TORCHRUN.items():
        environment.setenv(other, sane)
    if value is None:
        environment.delenv(name)
    else:
        environment.setenv(name, value)
    with pytest.raises(ConfigError, match=f"RANK is set, but {name} is missing or not a number") as error:
        World.from_environment()
    assert "Start with torchrun, or unset RANK for a single process." in str(error.value)


def test_an_odd_rank_is_refused(environment: pytest.MonkeyPatch) -> None:
    for name, value in (TORCHRUN | {"RANK": "first"}).items():
        environment.setenv(name, value)
    with pytest.raises(ConfigError, match="but RANK is missing or not a number"):
        World.from_environment()


def test_each_task_of_a_slurm_step_is_a_rank(environment: pytest.MonkeyPatch) -> None:
    os.environ.update(SLURM_TASK)
    assert World.from_environment() == World(rank=3, size=4, local_rank=0, local_size=1, is_launched=True)
    assert os.environ["RANK"] == "3"
    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("gpu07", str(20000 + 31 * 17 + 2))
    assert World.from_environment() == World(rank=3, size=4, local_rank=0, local_size=1, is_launched=True)


def test_the_scripts_own_address_comes_first(environment: pytest.MonkeyPatch) -> None:
    found = torchrun_variables(SLURM_TASK | {"MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "29501"})
    assert (found["MASTER_ADDR"], found["MASTER_PORT"]) == ("10.0.0.7", "29501")


@pytest.mark.parametrize(
    "shell",
    [SLURM_SCRIPT, SLURM_SCRIPT | {"MASTER_ADDR": "gpu07"}, SLURM_SCRIPT | {"SLURM_STEP_NUM_TASKS": "1"}],
    ids=["script", "script with an address", "srun --pty"],
)
def test_a_shell_of_slurm_is_one_process(environment: pytest.MonkeyPatch, shell: dict[str, str]) -> None:
    os.environ.update(shell)
    assert World.from_environment() == World()
    assert "RANK" not in os.environ


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("n1", "n1"),
        ("n[1-2]", "n1"),
        ("gpu[007,009-011],login", "gpu007"),
        ("a3,b[2-4]", "a3"),
        ("r[1-2]n[04-07]", "r1n04"),
    ],
)
def test_the_first_of_slurms_hosts_is_rank_0s(hosts: str, first: str) -> None:
    assert torchrun_variables(SLURM_TASK | {"SLURM_STEP_NODELIST": hosts})["MASTER_ADDR"] == first


@pytest.mark.parametrize(("counts", "last"), [("4", "4"), ("2(x3)", "2"), ("4(x2),3", "3")])
def test_slurms_counts_of_tasks_are_those_of_this_node(counts: str, last: str) -> None:
    nodes = {"4": 1, "2(x3)": 3, "4(x2),3": 3}[counts]
    task = SLURM_TASK | {"SLURM_STEP_TASKS_PER_NODE": counts, "SLURM_NODEID": str(nodes - 1)}
    assert torchrun_variables(task)["LOCAL_WORLD_SIZE"] == last


def test_steps_that_share_a_node_take_different_ports() -> None:
    tasks = (
        SLURM_TASK | {"SLURM_JOB_ID": str(job), "SLURM_STEP_ID": str(step)} for job in range(50) for step in range(8)
    )
    assert len({torchrun_variables(task)["MASTER_PORT"] for task in tasks}) == 400


def test_a_rank_that_sees_one_device_takes_it() -> None:
    task = SLURM_TASK | {"SLURM_LOCALID": "2"}
    assert torchrun_variables(task | {"CUDA_VISIBLE_DEVICES": "5"})["LOCAL_RANK"] == "0"
    assert torchrun_variables(task | {"CUDA_VISIBLE_DEVICES": "4,5,6"})["LOCAL_RANK"] == "2"
    assert torchrun_variables(task)["LOCAL_RANK"] == "2"


def test_openmpis_variables_are_read(environment: pytest.MonkeyPatch) -> None:
    # mpirun starts its daemons as a step of SLURM, and the ranks inherit what describes the daemon.
    os.environ.update(SLURM_TASK | OPENMPI | {"MASTER_ADDR": "gpu07"})
    assert World.from_environment() == World(rank=5, size=8, local_rank=1, local_size=4, is_launched=True)
    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("gpu07", "29500")


def test_openmpi_on_several_nodes_has_to_say_where_rank_0_is() -> None:
    with pytest.raises(ConfigError, match=r"MASTER_ADDR is missing.*mpirun -x MASTER_ADDR"):
        torchrun_variables(OPENMPI)
    assert torchrun_variables(OPENMPI | {"OMPI_COMM_WORLD_LOCAL_SIZE": "8"})["MASTER_ADDR"] == "127.0.0.1"


def test_torchrun_below_slurm_is_torchrun(environment: pytest.MonkeyPatch) -> None:
    os.environ.update(SLURM_TASK | OPENMPI | TORCHRUN)
    assert World.from_environment() == World(rank=3, size=4, local_rank=1, local_size=2, is_launched=True)


@pytest.mark.parametrize(("launcher", "speaks"), [({}, False), ({"SLURM_PROCID": "0"}, True)])
def test_one_task_says_what_all_meet(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], launcher: dict[str, str], speaks: bool
) -> None:
    environment.setattr(command.time, "sleep", lambda _: None)
    os.environ.update(SLURM_TASK | launcher)
    assert command.main(["no_such_recipe.yaml"]) == command.EXIT_USER_ERROR
    assert ("no such recipe" in capsys.readouterr().err) == speaks


def test_alone_nothing_is_communicated() -> None:
    assert not dist.is_initialized()
    world = World()
    assert world.sum([3, 2**64 - 1]) == [3, 2**64 - 1]
    assert world.sum_float([0.5]) == [0.5]
    assert world.gather({"a": 1}) == [{"a": 1}]
    world.barrier()


def two_alike(monkeypatch: pytest.MonkeyPatch) -> World:
    """A world of two ranks that always hold the same: its sums are doubles, in the tensor's own arithmetic."""
    monkeypatch.setattr(dist, "all_reduce", lambda tensor: tensor.add_(tensor.clone()))
    return World(rank=0, size=2)


@settings(deadline=None)
@given(values=st.lists(st.integers(0, 2**64 - 1) | st.sampled_from([2**63 - 1, 2**63, 2**64 - 1]), min_size=1))
def test_sums_wrap_modulo_two_to_the_64(values: list[int]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert two_alike(monkeypatch).sum(values) == [2 * value % 2**64 for value in values]


def test_floats_are_summed_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    assert two_alike(monkeypatch).sum_float([0.1, 1e300, 2**53 - 1]) == [0.2, 2e300, 2**54 - 2]


def test_a_world_of_one_has_a_process_group_while_it_is_held() -> None:
    world = World()
    with world.process_group():
        assert dist.get_world_size() == 1
        tensor = torch.ones(2)
        dist.all_reduce(tensor)
        assert tensor.tolist() == [1, 1]
    assert not dist.is_initialized()


def test_the_process_group_is_given_back_after_an_error() -> None:
    with pytest.raises(KeyError), World().process_group():
        raise KeyError
    assert not dist.is_initialized()
