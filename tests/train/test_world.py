from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import ConfigError
from train.world import World

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in TORCHRUN:
        monkeypatch.delenv(name, raising=False)
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
