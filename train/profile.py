"""A few steps under torch's profiler, where `log.profile` says, and the operators that took longest.

Each profiled rank leaves `runs/<name>/profile/rank-00000.<time>.pt.trace.json.gz` (open it in https://ui.perfetto.dev,
chrome://tracing or TensorBoard's profiler plugin) and the table of operators as `rank-00000.txt`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.profiler import ProfilerActivity, profile, tensorboard_trace_handler

from train.options import ProfileOptions
from train.world import World

_ROWS = 15


class Profile:
    """Profiles the steps of the window, on the ranks of the options, in one start of a run."""

    def __init__(self, options: ProfileOptions | None, folder: Path, world: World, *, step: int) -> None:
        """`step` is where the run goes on from: a window that has begun before is left alone."""
        is_mine = options is not None and world.rank in options.ranks and options.start > step
        self._window = range(options.start, options.start + options.steps) if options and is_mine else range(0)
        self._is_loudest = options is not None and world.rank == min(options.ranks)
        self._folder = folder
        self._world = world
        self._profile: profile | None = None
        self._last = step

    @contextmanager
    def step(self, step: int) -> Iterator[None]:
        """Take a step, with the profiler running if it is in the window."""
        if step in self._window and self._profile is None:
            self._profile = self._started()
        yield
        self._last = step
        if self._profile is not None and step == self._window[-1]:
            self.close()

    def close(self) -> None:
        """End the window, which a run may do before its last step, and write what there is."""
        if self._profile is None:
            return
        self._profile.stop()
        self._write(self._profile)
        self._profile = None

    def _started(self) -> profile:
        activities = [ProfilerActivity.CPU]
        if self._world.device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        self._folder.mkdir(exist_ok=True)
        handler = tensorboard_trace_handler(str(self._folder), self._name, use_gzip=True)
        started = profile(activities=activities, record_shapes=True, profile_memory=True, on_trace_ready=handler)
        started.start()
        return started

    def _write(self, done: profile) -> None:
        by = "self_device_time_total" if self._world.device.type == "cuda" else "self_cpu_time_total"
        table = done.key_averages().table(sort_by=by, row_limit=_ROWS, max_name_column_width=40)
        steps = f"steps {self._window[0]} to {self._last} on rank {self._world.rank}"
        (self._folder / f"{self._name}.txt").write_text(f"{steps}\n{table}\n")
        if self._is_loudest:
            print(f"profile of {steps}, in {self._folder}:\n{table}", file=sys.stderr, flush=True)

    @property
    def _name(self) -> str:
        return f"rank-{self._world.rank:05d}"
