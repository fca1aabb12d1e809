"""DeepSpeed ZeRO stages 0-3.

DeepSpeed takes the step; state goes in and out as named fragments (`train.state`), so checkpoints are
ours: crash-safe, unpickled, readable at any world size, stage and engine. Stage 0 keeps a plain
optimizer, so its gradients are clipped here; bf16 is autocast over float32 weights at stage 0, and
bf16 weights with sharded float32 master weights at stages 1-3.

    python -m train.engines.deepspeed       builds DeepSpeed's CPU extension, and nothing else
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import logging
import os
import platform
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from configs.errors import TrainingError
from data.loader import Batch
from model.int8.block import forget_rounded
from model.parameters import shape_of
from train.engines.blocked import BlockedTime
from train.engines.engine import EngineRequest, Shapes, storage_bytes, sum_of, to_device
from train.engines.options import DeepSpeedOptions
from train.engines.replicated import (
    clip_gradients,
    materialised,
    prepare_modules,
    replicated_bytes,
    replicated_fragments,
)
from train.objectives.objective import Objective
from train.optimizer import MOMENTS, build_adamw, create_state, numel_of, parameter_groups, set_learning_rate
from train.state import WEIGHT, Fragment, StateSource, fill
from train.world import World

BUCKET_ELEMENTS = 500_000_000
_PERSISTENT_SHARE = 0.01
_COLLECTIVES = (
    "all_gather",
    "all_gather_coalesced",
    "all_gather_into_tensor",
    "all_reduce",
    "all_reduce_coalesced",
    "all_to_all_single",
    "broadcast",
    "reduce",
    "reduce_scatter",
    "reduce_scatter_tensor",
)


class DeepSpeedEngine:
    """ZeRO: optimizer state (1), gradients (2) and parameters (3) are sharded over ranks."""

    def __init__(self, options: DeepSpeedOptions, request: EngineRequest) -> None:
        _require_possible(options, request)
        self._world = request.world
        self._stage = options.zero
        self._clip_norm = request.clip_norm
        with torch.device("meta"):
            self._shapes = {name: tuple(item.shape) for name, item in request.build_objective().named_parameters()}
        deepspeed = import_deepspeed(request.world)
        config = configuration(options, request, self._shapes)
        if self._stage == 3:
            with deepspeed.zero.Init(config_dict_or_path=config):
                objective = request.build_objective()
            prepare_modules(objective, request)
        else:
            objective = materialised(request)
        self.objective: Objective = objective
        self._adamw = build_adamw(parameter_groups(objective, request.optimizer), request.optimizer)
        self._engine, self._optimizer, _, _ = deepspeed.initialize(
            model=objective, optimizer=self._adamw, config=config
        )
        self._parameters: dict[str, Any] = dict(objective.named_parameters())
        self._blocked = _time_collectives(deepspeed, request.world)
        self._check()

    @property
    def shapes(self) -> Shapes:
        return self._shapes

    def load(self, source: StateSource) -> None:
        for flat in self._flat_master_weights():
            create_state(self._adamw, flat, source.step)
        if self._stage in (1, 2):
            self._optimizer._lazy_init_hp_params_optimizer_state()
        fill(self.fragments(), source)
        self._refresh_model_weights(source)
        forget_rounded(self.objective)

    def fragments(self) -> Iterator[Fragment]:
        if self._stage == 0:
            yield from replicated_fragments(self._parameters, self._adamw, self._world.rank, self._world.size)
        elif self._stage == 3:
            yield from self._partitioned_fragments()
        else:
            yield from self._flattened_fragments()

    def forward_backward(self, micro_batches: Sequence[Batch], num_targets: int) -> Tensor:
        # DeepSpeed averages over ranks; the loss is a sum over the targets of all of them.
        scale = self._world.size / num_targets
        losses = []
        for number, batch in enumerate(micro_batches, start=1):
            loss = self._engine(to_device(batch, self._world.device))["loss"]
            self._engine.backward(loss * scale, scale_wrt_gas=False)
            if number < len(micro_batches):
                self._engine.step()  # counts the micro-batch, takes no step
            losses.append(loss.detach())
        return sum_of(losses)

    def step(self, lr: float) -> Tensor | float:
        set_learning_rate(self._adamw, lr)
        norm: Tensor | float
        if self._stage == 0:
            norm = clip_gradients(list(self._parameters.values()), self._clip_norm)
            self._engine.step()
        else:
            self._engine.step()
            norm = self._engine.get_global_grad_norm()
        forget_rounded(self.objective)
        return norm

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        with self.evaluating():
            return self._engine(to_device(batch, self._world.device))  # type: ignore[no-any-return]

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        with torch.no_grad():
            self._engine.eval()
            yield
            self._engine.train()

    def blocked_s(self) -> float:
        return self._blocked.seconds()

    def bytes_held(self) -> dict[str, int]:
        if self._stage == 0:
            return replicated_bytes(self._parameters, self._adamw)
        flats = self._flat_master_weights()
        held = [item.data for item in self._parameters.values()]
        if self._stage == 3:
            held += [item.ds_tensor.data for item in self._parameters.values()]
        moments = [self._adamw.state[flat][key] for flat in flats for key in MOMENTS]
        return {
            "parameters": storage_bytes(held),
            "master_weights": storage_bytes([flat.data for flat in flats]),
            "moments": storage_bytes(moments),
        }

    def _flat_master_weights(self) -> list[Tensor]:
        """The tensors the optimizer really updates: everything (0), or this rank's float32 partitions."""
        if self._stage == 3:
            return list(self._optimizer.fp32_partitioned_groups_flat)
        return [parameter for group in self._adamw.param_groups for parameter in group["params"]]

    def _flattened_fragments(self) -> Iterator[Fragment]:
        """Stages 1 and 2: groups of parameters are flattened, and each rank owns one range of each."""
        for number, (name, parameter) in enumerate(self._parameters.items()):
            if not parameter.requires_grad:
                # Whole on every rank, in the precision of the forward pass; ranks take turns in writing it.
                is_written = number % self._world.size == self._world.rank
                yield Fragment(name, 0, parameter.data.view(-1), {}, is_written=is_written)
                continue
            mapping = parameter._hp_mapping
            if mapping is not None:
                moments = {key: mapping.optim_fragment[key].data for key in MOMENTS}
                yield Fragment(name, mapping.lp_fragment_address.start, mapping.hp_fragment.data, moments)

    def _partitioned_fragments(self) -> Iterator[Fragment]:
        """Stage 3: every parameter is cut into equal ranges, one a rank, the last one padded."""
        for name, parameter in self._parameters.items():
            start = self._world.rank * parameter.ds_tensor.ds_numel
            length = min(parameter.ds_tensor.ds_numel, parameter.ds_numel - start)
            if length > 0 and not parameter.requires_grad:
                # No optimizer, so no master weights: the partition itself.
                yield Fragment(name, start, parameter.ds_tensor.data.narrow(0, 0, length), {})
            elif length > 0:
                group, offset, _ = self._optimizer.grad_position[self._optimizer.get_param_id(parameter)]
                flat = self._optimizer.fp32_partitioned_groups_flat[group]
                state = self._adamw.state[flat]
                moments = {key: state[key].data.narrow(0, offset, length) for key in MOMENTS}
                yield Fragment(name, start, flat.data.narrow(0, offset, length), moments)

    @torch.no_grad()
    def _refresh_model_weights(self, source: StateSource) -> None:
        """Bring the weights that the model computes with up to the master weights just loaded."""
        if self._stage == 3:
            for fragment in self._partitioned_fragments():  # a copy onto itself, where it is frozen
                partition = self._parameters[fragment.name].ds_tensor.data
                partition.narrow(0, 0, fragment.weight.numel()).copy_(fragment.weight)
        elif self._stage > 0:
            for name, parameter in self._parameters.items():
                if parameter.requires_grad:
                    whole = source.read(WEIGHT, name, 0, parameter.numel())
                    parameter.data.copy_(whole.view_as(parameter))

    def _check(self) -> None:
        """Compare what was built with what was asked."""
        world_size = self._world.size
        problem = None
        if self._engine.zero_optimization_stage() != self._stage:
            problem = f"DeepSpeed runs stage {self._engine.zero_optimization_stage()}"
        elif self._engine.world_size != world_size:
            problem = f"DeepSpeed sees {self._engine.world_size} rank(s) of {world_size}"
        elif self._stage == 3:
            whole = [
                name
                for name, parameter in self._parameters.items()
                if parameter.ds_tensor.ds_numel != -(-numel_of(parameter) // world_size)
            ]
            problem = f"parameters are not partitioned: {', '.join(whole[:3])}" if whole else None
        elif self._stage in (1, 2):
            total = sum(numel_of(item) for item in self._parameters.values() if item.requires_grad)
            held = sum(flat.numel() for flat in self._flat_master_weights())
            # Each of the parameter groups may be padded to a multiple of the alignment.
            if held > total / world_size + 4096 * len(self._adamw.param_groups):
                problem = f"a rank updates {held} of {total} elements"
        if [shape_of(item) for item in self._parameters.values()] != list(self._shapes.values()):
            problem = "parameters changed shape"
        if problem:
            raise TrainingError(f"engine.zero={self._stage} on {world_size} rank(s) was asked for, but {problem}.")


def _time_collectives(deepspeed: Any, world: World) -> BlockedTime:
    """Time the collectives of DeepSpeed's one backend, through which all its stages communicate.

    Its own logger of communication would make every collective wait for the device.
    """
    blocked = BlockedTime(world.device)
    backend = deepspeed.comm.comm.cdb
    for name in _COLLECTIVES:
        # From the class: an engine that this process built before has put its own on the instance.
        setattr(backend, name, blocked.timed(getattr(type(backend), name).__get__(backend)))
    return blocked


def _require_possible(options: DeepSpeedOptions, request: EngineRequest) -> None:
    if request.compile and options.zero == 3:
        raise TrainingError("train.compile=true does not work with engine.zero=3 (parameters come and go); use zero=2.")
    if options.offload != "none" and request.world.device.type == "cpu":
        raise TrainingError(
            f"engine.offload={options.offload} moves state from a GPU to host memory, and this rank has no GPU; "
            "use offload=none."
        )


def configuration(options: DeepSpeedOptions, request: EngineRequest, shapes: Shapes) -> dict[str, Any]:
    """The DeepSpeed configuration of a recipe."""
    sizes = sorted(torch.Size(shape).numel() for shape in shapes.values())
    is_bf16 = request.precision == "bf16"
    # Buffers as large as the default would dwarf small models. DeepSpeed refuses odd ones.
    bucket = min(BUCKET_ELEMENTS, sum(sizes) + sum(sizes) % 2)
    zero: dict[str, Any] = {
        "stage": options.zero,
        "reduce_bucket_size": bucket,
    }
    if options.zero == 3:
        zero["stage3_param_persistence_threshold"] = _persistence_threshold(sizes)
    else:
        zero["allgather_bucket_size"] = bucket
    if options.offload != "none":
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    if options.offload == "all":
        zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": request.micro_rows,
        "gradient_accumulation_steps": request.num_micro,
        "gradient_clipping": (request.clip_norm or 0.0) if options.zero else 0.0,
        "zero_optimization": zero,
        # One optimizer for every engine: torch's fused AdamW also runs on host memory.
        "zero_force_ds_cpu_optimizer": False,
    }
    if is_bf16 and options.zero:
        config["bf16"] = {"enabled": True}
        config["data_types"] = {"grad_accum_dtype": "fp32"}
    elif is_bf16 or request.autocasts:
        config["torch_autocast"] = {"enabled": True, "dtype": "bfloat16"}
    extra = dict(options.config)
    zero.update(extra.pop("zero_optimization", {}))
    return {**config, **extra}


def _persistence_threshold(sizes: Sequence[int]) -> int:
    """Keep the smallest parameters whole (norms, biases), up to one per cent of the model.

    DeepSpeed's fixed default (100,000 elements) would leave every matrix of a small model unsharded.
    """
    budget = _PERSISTENT_SHARE * sum(sizes)
    threshold = 0
    for size in sizes:
        budget -= size
        if budget < 0:
            # Parameters of equal size are all kept or all sharded.
            return min(threshold, size - 1)
        threshold = size
    return threshold


def import_deepspeed(world: World) -> Any:
    """Import DeepSpeed, with its CPU extension built.

    DeepSpeed builds the extension when communication starts, and waits forever, silently, on the
    lock of a build that was killed. Here a lock of the operating system comes first (it dies with
    its process), so a lock left behind is known to be stale, and is removed.
    """
    is_on_cpu = world.device.type == "cpu"
    # It insists on the launcher's variable, also in a process that no launcher started.
    os.environ.setdefault("LOCAL_RANK", str(world.local_rank))
    if is_on_cpu:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed

    if is_on_cpu:
        # A folder for each installation: two of them would rebuild it in turn, under each other's feet.
        installation = hashlib.sha256(deepspeed.__file__.encode()).hexdigest()[:8]
        name = f"py{platform.python_version()}-torch{torch.__version__}-deepspeed{deepspeed.__version__}-{installation}"
        default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "polytrain" / name
        folder = Path(os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(default)))
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".build").open("w") as lock:
            with contextlib.suppress(OSError):  # some network disks cannot lock; then nothing is known to be stale
                fcntl.flock(lock, fcntl.LOCK_EX)
                for stale in folder.glob("*/lock"):
                    stale.unlink()
            _build_communication_op(deepspeed, folder)
    # DeepSpeed calls names that torch 2.14 has renamed, and torch says so at every call.
    warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)
    return deepspeed


def _build_communication_op(deepspeed: Any, folder: Path) -> None:
    # With a CUDA toolkit but no GPU, torch warns at import that there is no GPU: known already.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    if not any(folder.glob("*/*.so")):
        print(f"building DeepSpeed's CPU extension in {folder} (once, about 30 s)", file=sys.stderr, flush=True)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints that it was built, on every rank
            deepspeed.init_distributed(dist_backend="gloo", verbose=False)
    except Exception as error:  # the compiler's, ninja's or the loader's
        raise TrainingError(
            f"DeepSpeed's CPU extension cannot be built in {folder}: {error}. "
            "Install a C++ compiler, or use engine.kind=accelerate."
        ) from error


def main() -> None:
    """Build DeepSpeed's CPU extension now, so that no run waits for it."""
    world = World()
    with world.process_group():
        import_deepspeed(world)


if __name__ == "__main__":
    main()
