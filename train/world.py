"""Ranks: the process environment, process groups, and small reductions between hosts.

Host-side numbers (token counts, digests, flags) travel over gloo and never touch the accelerator's stream.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from data.processes import die_with_parent
from train.launchers import NUMBERS, adopt


@dataclass(frozen=True)
class World:
    """This process among all processes of the run."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    is_launched: bool = False
    "Whether a launcher started this process: torchrun, srun, mpirun."

    @classmethod
    def from_environment(cls) -> World:
        """Read what torchrun, mpirun or srun set; without them, one process.

        Raises:
            ConfigError: when the variables are there but do not make sense.
        """
        adopt()
        if "RANK" not in os.environ:
            return cls()
        rank, size, local_rank, local_size = (int(os.environ[name]) for name in NUMBERS)
        return cls(rank, size, local_rank, local_size, is_launched=True)

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes what is written once."""
        return self.rank == 0

    @functools.cached_property
    def device(self) -> torch.device:
        """Where this rank computes."""
        return torch.device("cuda", self.local_rank) if torch.cuda.is_available() else torch.device("cpu")

    def seed_generators(self, seed: int) -> None:
        """Set the state of torch's own generators on this rank.

        `torch.manual_seed` does the same for every device there might be, at 0.25 ms a call.
        """
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.default_generators[self.local_rank].manual_seed(seed)

    @contextmanager
    def process_group(self) -> Iterator[None]:
        """Hold the process group open: gloo for the CPU, NCCL for CUDA. A world of one has one too."""
        if self.is_launched:
            # Orphaned ranks would train on, hold devices, and write into a run that was started again.
            die_with_parent()
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        backend = "cpu:gloo,cuda:nccl" if self.device.type == "cuda" else "gloo"
        if self.is_launched:
            dist.init_process_group(backend, timeout=timedelta(minutes=30))
        else:
            store = torch._C._distributed_c10d.HashStore()
            dist.init_process_group(backend, store=store, rank=0, world_size=1)
        try:
            yield
        finally:
            dist.destroy_process_group()

    def sum(self, values: Sequence[int]) -> list[int]:
        """Sums over ranks, modulo 2^64 (so hashes may be summed)."""
        if self.size == 1:
            return [value % 2**64 for value in values]
        wrapped = torch.tensor([value - 2**64 if value >= 2**63 else value for value in values], dtype=torch.int64)
        dist.all_reduce(wrapped)
        return [value % 2**64 for value in wrapped.tolist()]

    def any(self, flag: bool) -> bool:
        """Whether it is set on any rank."""
        return self.sum([int(flag)])[0] > 0

    def sum_float(self, values: Sequence[float]) -> list[float]:
        """Sums over ranks in float64."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor)
        return tensor.tolist()

    def rows(self, values: Sequence[float]) -> list[list[float]]:
        """The numbers of every rank, on every rank, float64: one row a rank, all of one length."""
        if self.size == 1:
            return [list(values)]
        mine = torch.tensor(values, dtype=torch.float64)
        gathered = torch.empty(self.size * len(values), dtype=torch.float64)
        dist.all_gather_into_tensor(gathered, mine)
        return gathered.view(self.size, len(values)).tolist()

    def gather(self, value: object) -> list[object]:
        """The value of every rank, on every rank (plain data only)."""
        if self.size == 1:
            return [value]
        values: list[object] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.sum([0])
