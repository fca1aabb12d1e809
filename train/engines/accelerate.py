"""Hugging Face Accelerate: one process, or DDP on several ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor
from torch.autograd import Variable
from torch.nn.parallel import DistributedDataParallel

from configs.errors import TrainingError
from data.loader import Batch
from model.int8.block import forget_rounded
from train.engines.blocked import BlockedTime
from train.engines.engine import EngineRequest, Shapes, sum_of, to_device
from train.engines.options import AccelerateOptions
from train.engines.replicated import clip_gradients, materialised, replicated_bytes, replicated_fragments
from train.optimizer import build_adamw, create_state, parameter_groups, set_learning_rate
from train.state import Fragment, StateSource, fill


class AccelerateEngine:
    """Every rank holds everything; gradients are averaged."""

    def __init__(self, options: AccelerateOptions, request: EngineRequest) -> None:
        self._world = request.world
        self._clip_norm = request.clip_norm
        self._accelerator = Accelerator(
            cpu=self._world.device.type == "cpu",
            mixed_precision="bf16" if request.precision == "bf16" or request.autocasts else "no",
            kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
        )
        self.objective = materialised(request)
        self._parameters = dict(self.objective.named_parameters())
        self._optimizer = build_adamw(parameter_groups(self.objective, request.optimizer), request.optimizer)
        self._model = self._accelerator.prepare_model(self.objective)
        self._blocked = BlockedTime(self._world.device)
        self._check()

    @property
    def shapes(self) -> Shapes:
        return {name: tuple(parameter.shape) for name, parameter in self._parameters.items()}

    def load(self, source: StateSource) -> None:
        for parameter in self._parameters.values():
            if parameter.requires_grad:
                create_state(self._optimizer, parameter, source.step)
        fill(self.fragments(), source)
        forget_rounded(self.objective)

    def fragments(self) -> Iterator[Fragment]:
        yield from replicated_fragments(self._parameters, self._optimizer, self._world.rank, self._world.size)

    def forward_backward(self, micro_batches: Sequence[Batch], num_targets: int) -> Tensor:
        # DDP averages over ranks; the loss is a sum over the targets of all of them.
        scale = self._world.size / num_targets
        losses = []
        for number, batch in enumerate(micro_batches, start=1):
            is_last = number == len(micro_batches)
            with nullcontext() if is_last else self._accelerator.no_sync(self._model):
                loss = self._model(to_device(batch, self._world.device))["loss"]
                self._backward(loss * scale, is_reduced=is_last and self._world.size > 1)
            losses.append(loss.detach())
        return sum_of(losses)

    def _backward(self, loss: Tensor, *, is_reduced: bool) -> None:
        """Backward; what DDP does when all gradients are there, which is to wait for their reductions, is timed."""
        if not is_reduced:
            self._accelerator.backward(loss)
            return
        # Callbacks run in the order in which they are queued, at the end of backward: this one before DDP's.
        engine = Variable._execution_engine
        loss.register_hook(lambda _: engine.queue_callback(self._blocked.begin))  # type: ignore[no-untyped-call]
        self._accelerator.backward(loss)
        self._blocked.end()

    def step(self, lr: float) -> Tensor:
        norm = clip_gradients(list(self._parameters.values()), self._clip_norm)
        set_learning_rate(self._optimizer, lr)
        self._optimizer.step()
        self._optimizer.zero_grad()
        forget_rounded(self.objective)
        return norm

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        with self.evaluating():
            # The objective itself: DDP would synchronise buffers, and nothing is trained here.
            return self.objective(to_device(batch, self._world.device))  # type: ignore[no-any-return]

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        with torch.no_grad(), self._accelerator.autocast():
            self.objective.eval()
            yield
            self.objective.train()

    def blocked_s(self) -> float:
        return self._blocked.seconds()

    def bytes_held(self) -> dict[str, int]:
        return replicated_bytes(self._parameters, self._optimizer)

    def _check(self) -> None:
        found = self._accelerator.num_processes
        is_ddp = isinstance(self._model, DistributedDataParallel)
        if found != self._world.size or (found > 1 and not is_ddp):
            raise TrainingError(
                f"engine.kind=accelerate: asked for {self._world.size} rank(s), Accelerate built {found} "
                f"({type(self._model).__name__}). Unset ACCELERATE_* variables; `accelerate env` shows them."
            )
