"""Every engine takes the same steps; one process here, several in the tests of whole runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from torch import Tensor

from configs.errors import TrainingError
from train.checkpoint import About, Checkpoint, Checkpoints, Position
from train.engines.deepspeed import _persistence_threshold, configuration
from train.engines.engine import Engine, EngineRequest, build_engine, storage_bytes
from train.engines.options import AccelerateOptions, AnyEngine, DeepSpeedOptions
from train.objectives.causal_lm import CausalLM
from train.options import AdamWOptions
from train.state import WEIGHT, InitialWeights
from train.world import World

BatchOf = Callable[[int, int], dict[str, Tensor]]
RequestOf = Callable[..., EngineRequest]
State = dict[tuple[str, str], Tensor]

KINDS: dict[str, AnyEngine] = {
    "accelerate": AccelerateOptions(),
    **{f"zero-{stage}": DeepSpeedOptions(zero=stage) for stage in (0, 1, 2, 3)},
}
ENGINES = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def _environment(process_group: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # What an engine sets in the environment is taken back.
    for name in ("RANK", "LOCAL_RANK", "DS_ACCELERATOR", "TORCH_EXTENSIONS_DIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    yield
    start_afresh()


def start_afresh() -> None:
    """Forget what Accelerate keeps for a whole process, and the variable by which it knows a launcher."""
    os.environ.pop("LOCAL_RANK", None)
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()


def build(kind: str, request: EngineRequest, source: Any = None) -> Engine:
    start_afresh()
    engine = build_engine(KINDS[kind], request)
    engine.load(source or InitialWeights(engine.objective.initial_value, engine.shapes, seed=5))
    return engine


def state_of(engine: Engine) -> State:
    """The whole state of an engine, pieced together from its fragments; every element must be there once."""
    state = {
        (field, name): torch.full((torch.Size(shape).numel(),), torch.nan)
        for name, shape in engine.shapes.items()
        for field in (WEIGHT, "exp_avg", "exp_avg_sq")
    }
    for fragment in engine.fragments():
        for field, tensor in fragment.fields.items():
            place = state[field, fragment.name][fragment.start : fragment.start + tensor.numel()]
            assert place.isnan().all()
            place.copy_(tensor)
    assert not any(tensor.isnan().any() for tensor in state.values())
    return state


def cut(batch: dict[str, Tensor], rows: int) -> list[dict[str, Tensor]]:
    places = range(0, len(batch["tokens"]), rows)
    return [{name: tensor[start : start + rows] for name, tensor in batch.items()} for start in places]


def train(engine: Engine, batch_of: BatchOf, steps: range, *, micro_rows: int = 8) -> list[float]:
    """Take `steps`; the loss and the gradient norm of each."""
    figures = []
    for step in steps:
        batch = batch_of(8, step)
        targets = engine.objective.num_targets(batch)
        loss = engine.forward_backward(cut(batch, micro_rows), targets)
        figures += [float(loss), float(engine.step(0.01 / (1 + step)))]
    return figures


def require_close(found: State, expected: State, tolerance: float = 1e-6) -> None:
    distances = {key: float((found[key] - expected[key]).abs().max() / expected[key].abs().max()) for key in expected}
    assert max(distances.values()) < tolerance, distances


def reference(request: EngineRequest, batch_of: BatchOf, steps: range) -> tuple[State, list[float]]:
    """The same steps without any engine: whole batches, plain AdamW."""
    objective = request.build_objective()
    with torch.no_grad():
        for name, parameter in objective.named_parameters():
            parameter.copy_(objective.initial_value(name, parameter.shape, 5))
    named = dict(objective.named_parameters())
    options = request.optimizer
    decays = [item for item in named.values() if item.dim() > 1], [item for item in named.values() if item.dim() == 1]
    groups = [{"params": decays[0], "weight_decay": options.weight_decay}, {"params": decays[1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(options.beta1, options.beta2), eps=options.eps)
    figures = []
    for step in steps:
        batch = batch_of(8, step)
        loss = objective(batch)["loss"]
        optimizer.zero_grad()
        (loss / objective.num_targets(batch)).backward()
        norm = torch.stack([item.grad.norm() for item in named.values()]).norm()
        if request.clip_norm is not None and norm > request.clip_norm:
            for item in named.values():
                item.grad *= request.clip_norm / norm
        for group in optimizer.param_groups:
            group["lr"] = 0.01 / (1 + step)
        optimizer.step()
        figures += [float(loss.detach()), float(norm)]
    state = {(WEIGHT, name): item.detach().flatten() for name, item in named.items()}
    for field in ("exp_avg", "exp_avg_sq"):
        state |= {(field, name): optimizer.state[item][field].flatten() for name, item in named.items()}
    return state, figures


# A large eps: where gradients are rounding noise, Adam's ratio of moments would be noise too.
SMOOTH = AdamWOptions(lr=0.01, eps=1e-3)


@ENGINES
@pytest.mark.parametrize(("micro_rows", "clip_norm"), [(8, None), (4, 0.05), (2, None)])
def test_steps_equal_plain_adamw_on_the_mean_loss_however_the_batch_is_cut(
    request_of: RequestOf, batch_of: BatchOf, kind: str, micro_rows: int, clip_norm: float | None
) -> None:
    asked = request_of(optimizer=SMOOTH, micro_rows=micro_rows, num_micro=8 // micro_rows, clip_norm=clip_norm)
    expected, expected_figures = reference(asked, batch_of, range(2))
    engine = build(kind, asked)
    figures = train(engine, batch_of, range(2), micro_rows=micro_rows)
    assert figures == pytest.approx(expected_figures, rel=1e-5)
    if clip_norm is not None:
        assert min(figures[1::2]) > clip_norm
    require_close(state_of(engine), expected, 1e-5)


def test_micro_batches_of_unequal_targets_give_the_same_gradients_and_weights(
    request_of: RequestOf, batch_of: BatchOf
) -> None:
    batch = batch_of(8, 0)
    found: dict[int, tuple[State, State]] = {}
    for rows in (8, 4, 2):
        engine = build("accelerate", request_of(optimizer=SMOOTH, micro_rows=rows, num_micro=8 // rows, clip_norm=None))
        parts = cut(batch, rows)
        counts = [engine.objective.num_targets(part) for part in parts]
        assert len(set(counts)) == len(counts)
        engine.forward_backward(parts, sum(counts))
        gradients = {("grad", name): item.grad.clone() for name, item in engine.objective.named_parameters()}
        engine.step(0.01)
        found[rows] = gradients, state_of(engine)
    for rows in (4, 2):
        require_close(found[rows][0], found[8][0])
        require_close(found[rows][1], found[8][1])


@ENGINES
def test_a_new_engine_starts_from_the_initial_values(request_of: RequestOf, kind: str) -> None:
    engine = build(kind, request_of())
    plain = request_of().build_objective()
    assert engine.shapes == {name: tuple(item.shape) for name, item in plain.named_parameters()}
    state = state_of(engine)
    for name, shape in engine.shapes.items():
        assert torch.equal(state[WEIGHT, name], plain.initial_value(name, shape, 5).flatten())
        assert not state["exp_avg", name].any()
        assert not state["exp_avg_sq", name].any()


def saved(engine: Engine, folder: Path, step: int) -> Checkpoint:
    about = About(Position(step), engine.shapes, 0)
    return Checkpoint(Checkpoints(folder, World()).save(engine.fragments(), about, "", keep_last=1))


@ENGINES
def test_after_save_and_load_into_a_new_engine_the_next_steps_are_bit_identical(
    request_of: RequestOf, batch_of: BatchOf, tmp_path: Path, kind: str
) -> None:
    first = build(kind, request_of())
    train(first, batch_of, range(2))
    checkpoint = saved(first, tmp_path, 2)
    straight = train(first, batch_of, range(2, 5))
    second = build(kind, request_of(), checkpoint)
    assert train(second, batch_of, range(2, 5)) == straight
    ours, theirs = state_of(second), state_of(first)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@ENGINES
@pytest.mark.parametrize("other", ["accelerate", "zero-2"])
def test_another_engine_goes_on_where_one_stopped(
    request_of: RequestOf, batch_of: BatchOf, tmp_path: Path, kind: str, other: str
) -> None:
    asked = request_of(optimizer=SMOOTH)
    expected, _ = reference(asked, batch_of, range(3))
    first = build(kind, asked)
    train(first, batch_of, range(2))
    checkpoint = saved(first, tmp_path, 2)
    second = build(other, asked, checkpoint)
    before = state_of(second)
    assert all(torch.equal(before[key], tensor) for key, tensor in state_of(first).items())
    train(second, batch_of, range(2, 3))
    require_close(state_of(second), expected, 1e-5)


@ENGINES
def test_evaluation_sees_the_trained_weights_and_leaves_no_trace(
    request_of: RequestOf, batch_of: BatchOf, objective_of: Callable[..., CausalLM], kind: str
) -> None:
    dropping = request_of(build_objective=lambda: objective_of(dropout=0.5))
    engine = build(kind, dropping)
    train(engine, batch_of, range(1))
    state, batch = state_of(engine), batch_of(4, 9)
    plain = objective_of(dropout=0.5).eval()
    plain.load_state_dict({name: state[WEIGHT, name].reshape(shape) for name, shape in engine.shapes.items()})
    loss = engine.evaluate(batch)["loss"]
    assert not loss.requires_grad
    assert float(loss) == pytest.approx(plain(batch)["loss"].item(), rel=1e-6)
    assert engine.objective.training
    with engine.evaluating():
        assert not engine.objective.training
        assert not torch.is_grad_enabled()
    assert engine.objective.training
    after = state_of(engine)
    assert all(torch.equal(after[key], tensor) for key, tensor in state.items())


@ENGINES
def test_what_is_held_on_one_rank_is_the_whole_state(request_of: RequestOf, kind: str) -> None:
    engine = build(kind, request_of())
    numel = sum(torch.Size(shape).numel() for shape in engine.shapes.values())
    held = engine.bytes_held()
    assert held.keys() == {"parameters", "master_weights", "moments"}
    # Flattened groups are padded a little.
    assert 4 * numel <= held["parameters"] + held["master_weights"] <= 8 * numel + 4096
    assert 8 * numel <= held["moments"] <= 8 * numel + 4096


@pytest.mark.parametrize("kind", ["accelerate", "zero-0", "zero-2"])
def test_bf16_computes_in_bf16_over_float32_state(request_of: RequestOf, batch_of: BatchOf, kind: str) -> None:
    exact = build("accelerate", request_of())
    expected = train(exact, batch_of, range(2))
    engine = build(kind, request_of(precision="bf16"))
    figures = train(engine, batch_of, range(2))
    assert figures != expected
    assert figures == pytest.approx(expected, rel=0.03)
    assert {tensor.dtype for fragment in engine.fragments() for tensor in fragment.fields.values()} == {torch.float32}


@pytest.mark.parametrize("kind", ["accelerate", "zero-3"])
def test_recomputation_changes_no_number(request_of: RequestOf, batch_of: BatchOf, kind: str) -> None:
    figures = []
    for recompute in (False, True):
        engine = build(kind, request_of(recompute=recompute))
        assert engine.objective.transformer.recompute_blocks == recompute  # type: ignore[union-attr]
        figures.append(train(engine, batch_of, range(2)))
    assert figures[0] == figures[1]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("accelerate", r"asked for 2 rank\(s\), Accelerate built 1"),
        ("zero-1", r"engine.zero=1 on 2 rank\(s\) was asked for, but DeepSpeed sees 1 rank\(s\) of 2"),
        ("zero-3", r"engine.zero=3 on 2 rank\(s\) was asked for, but DeepSpeed sees 1 rank\(s\) of 2"),
    ],
)
def test_an_engine_on_fewer_ranks_than_asked_is_refused(request_of: RequestOf, kind: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        build_engine(KINDS[kind], request_of(world=World(rank=0, size=2)))


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        (DeepSpeedOptions(zero=3), {"compile": True}, "train.compile=true does not work with engine.zero=3"),
        (DeepSpeedOptions(zero=2, offload="optimizer"), {}, "engine.offload=optimizer .* this rank has no GPU"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="offload works with a GPU")
def test_impossible_requests_are_refused(
    request_of: RequestOf, options: DeepSpeedOptions, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        build_engine(options, request_of(**changes))


@pytest.mark.parametrize(
    ("sizes", "threshold"),
    [([1000], 0), ([1, 1000], 1), ([5, 5, 1000], 5), ([5, 5, 5, 1000], 4), ([1, 5, 5, 5, 1000], 4)],
)
def test_only_the_smallest_parameters_stay_whole_under_zero_3(sizes: list[int], threshold: int) -> None:
    assert _persistence_threshold(sizes) == threshold
    kept = sum(size for size in sizes if size <= _persistence_threshold(sizes))
    assert kept <= 0.01 * sum(sizes)


def test_buckets_of_deepspeed_are_even(request_of: RequestOf) -> None:
    zero = configuration(DeepSpeedOptions(zero=2), request_of(), {"matrix": (3, 5), "bias": (4,)})["zero_optimization"]
    assert zero["reduce_bucket_size"] == zero["allgather_bucket_size"] == 20


def test_bytes_of_a_shared_storage_are_counted_once() -> None:
    whole = torch.zeros(10)
    assert storage_bytes([whole, whole[:3], whole.view(2, 5)]) == 40
    assert storage_bytes([whole, torch.zeros(1)]) == 44
