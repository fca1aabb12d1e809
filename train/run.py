"""The assembly of one run, from a recipe to its end."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import torch
import torch.utils.deterministic

from configs.errors import ConfigError, DataError, UserError
from data.batches import BatchPlan
from data.cache import storage_of
from data.loader import TrainLoader, lost_workers_explained
from data.sample import Source
from data.sources import build_source, plain_sources, reading_threads
from data.text.tokenizer import load_tokenizer
from train.bad_samples import BadSampleLog
from train.checkpoint import About, Checkpoint, Checkpoints, Position
from train.efficiency import Efficiency
from train.engines.engine import Engine, EngineRequest, build_engine
from train.epochs import require_epochs
from train.interruption import Interruption
from train.loop import Loop
from train.metrics import MetricsLog, Sink, read_rows
from train.objectives.objective import require_fields
from train.objectives.of_recipe import objective_of
from train.optimizer import numel_of
from train.plan.flops import step_flops
from train.plan.gpus import peak_flops, precision_of_mfu
from train.probes.probe import ProbeContext, build_probe
from train.profile import Profile
from train.recipe import Recipe
from train.run_folder import RunFolder, require_same_data
from train.saved_bytes import SavedBytes
from train.state import InitialWeights
from train.tracker_options import require_packages
from train.watchdog import Watchdog
from train.world import World


def run(recipe: Recipe, world: World) -> None:
    """Train as `recipe` says, from the newest checkpoint of its run folder or from the start.

    Raises:
        UserError: for anything the user has to change; the run folder is then as it was.
    """
    plan = BatchPlan.of(recipe.batch, world.rank, world.size)
    source = build_source(recipe.data.train, storage_of(recipe.data.cache))
    require_fields(recipe.objective, source, f"data.train (kind {recipe.data.train.kind})")
    _require_vocabulary(recipe)
    require_packages(recipe.log.trackers)
    require_epochs(recipe, source)
    _set_determinism(recipe.train.deterministic)
    folder = RunFolder(Path(recipe.run))
    with ExitStack() as stack:
        stack.enter_context(world.process_group())
        _on_main(world, lambda: folder.claim(recipe))
        stack.callback(folder.release)
        engine = build_engine(recipe.engine, _engine_request(recipe, plan, world))
        checkpoints = Checkpoints(folder.checkpoints, world)
        position = _restore(recipe, engine, checkpoints, source.fingerprint, world)
        efficiency = efficiency_of(recipe, world) if world.is_main else Efficiency()
        if world.is_main:
            folder.begin(recipe, world, position.step, efficiency)
            _print_start(recipe, engine, source, position, world, efficiency)
        log = _open_log(recipe, folder, position) if world.is_main else None
        if log is not None:
            stack.enter_context(log)
        loader = TrainLoader(
            source,
            seed=recipe.seed,
            plan=plan,
            start=position.step,
            stop=recipe.train.steps,
            workers=recipe.data.workers,
            prefetch=recipe.data.prefetch,
            order=recipe.data.order,
            threads=reading_threads(recipe.data),
            bad_samples=recipe.data.bad_samples,
        )
        stack.callback(loader.close)
        interruption = Interruption(recipe.train.time_limit_s)
        context = ProbeContext(recipe, engine, plan.micro_rows, world, interruption)
        probes = {name: (options, build_probe(options, context)) for name, options in recipe.probes.items()}
        save = functools.partial(_save, checkpoints, engine, recipe, source.fingerprint)
        bad_samples = BadSampleLog(folder.path / "bad_samples", world.rank)
        watchdog = stack.enter_context(Watchdog(recipe.train.stall_limit_s, folder.path / "stalls", world.rank))
        profile = Profile(recipe.log.profile, folder.path / "profile", world, step=position.step)
        stack.callback(profile.close)
        loop = Loop(
            recipe,
            world,
            engine,
            loader,
            probes=probes,
            save=save,
            bad_samples=bad_samples,
            interruption=interruption,
            watchdog=watchdog,
            profile=profile,
            saved_bytes=SavedBytes(engine.objective, position.step + 1 if recipe.log.saved_bytes else None),
            efficiency=efficiency,
            log=log,
        )
        with lost_workers_explained(), interruption:
            loop.run(position)
    if world.is_main:
        _print_end(recipe, folder)


def _engine_request(recipe: Recipe, plan: BatchPlan, world: World) -> EngineRequest:
    return EngineRequest(
        build_objective=lambda: objective_of(recipe),
        optimizer=recipe.optimizer,
        precision=recipe.precision,
        clip_norm=recipe.train.clip_norm,
        num_micro=plan.num_micro,
        micro_rows=plan.micro_rows,
        compile=recipe.train.compile,
        recompute=recipe.train.recompute == "blocks",
        world=world,
        autocasts=recipe.autocasts(world.device.type),
    )


def _restore(recipe: Recipe, engine: Engine, checkpoints: Checkpoints, fingerprint: int, world: World) -> Position:
    """Load the newest intact checkpoint, or the initial weights."""
    report: Callable[[str], None] = functools.partial(print, file=sys.stderr) if world.is_main else lambda _: None
    checkpoint = checkpoints.newest_intact(report)
    if checkpoint is None:
        for text in engine.objective.surgery.reports():
            report(text)
        engine.load(InitialWeights(engine.objective.initial_value, engine.shapes, recipe.seed))
        engine.objective.surgery.close()
        return Position()
    require_resumable(checkpoint, recipe, engine, fingerprint)
    engine.load(checkpoint)
    return checkpoint.position


def require_resumable(checkpoint: Checkpoint, recipe: Recipe, engine: Engine, fingerprint: int) -> None:
    """Check that this run can go on from `checkpoint`.

    Raises:
        UserError: when the model, the data or the number of steps say otherwise.
    """
    checkpoint.require_shapes(engine.shapes)
    require_same_data(fingerprint, checkpoint.data_fingerprint, checkpoint.folder)
    if checkpoint.step > recipe.train.steps:
        raise ConfigError(
            f"run={recipe.run}: has come to step {checkpoint.step}, beyond train.steps={recipe.train.steps}. "
            "Raise train.steps to go on, or choose another run folder (run=...)."
        )


def _save(checkpoints: Checkpoints, engine: Engine, recipe: Recipe, fingerprint: int, position: Position) -> None:
    about = About(position, engine.shapes, fingerprint)
    checkpoints.save(engine.fragments(), about, recipe.yaml(), keep_last=recipe.checkpoint.keep_last)


def _open_log(recipe: Recipe, folder: RunFolder, position: Position) -> MetricsLog:
    sinks: list[Sink] = []
    if recipe.log.tensorboard:
        from train.tensorboard import Events

        sinks.append(Events(folder.tensorboard, recipe, step=position.step))
    if recipe.log.trackers:
        from train.trackers import Tracker

        sinks += [Tracker(options, recipe, folder.path) for options in recipe.log.trackers]
    return MetricsLog(folder.metrics, sinks, step=position.step, last=recipe.train.steps)


def efficiency_of(recipe: Recipe, world: World) -> Efficiency:
    """What MFU is measured against. Counting a step takes seconds, so it is done only where the peak is known."""
    if world.device.type != "cuda":
        return Efficiency(num_devices=world.size)
    device = torch.cuda.get_device_name(world.device)
    peak = peak_flops(device, precision_of_mfu(recipe.precision))
    if peak is None:
        return Efficiency(device=device, num_devices=world.size)
    try:
        counted = step_flops(recipe)
    except UserError as error:  # a part of the user's own may not say what its batches hold
        print(f"no MFU: {error}", file=sys.stderr)
        return Efficiency(device=device, num_devices=world.size)
    return Efficiency(counted, device, peak.flops, world.size)


def _require_vocabulary(recipe: Recipe) -> None:
    for key, embedder in recipe.model.embedders.items():
        if hasattr(embedder, "vocab_size"):
            _require_entries(recipe, f"model.{key}.vocab_size", embedder.vocab_size)


def _require_entries(recipe: Recipe, where: str, entries: int) -> None:
    for key, options in plain_sources(recipe.data.train).items():
        ids = getattr(options, "vocab_size", 0)
        if ids > entries:
            raise ConfigError(
                f"data.train{key} (kind {options.kind}): has {ids} token ids, more than "
                f"{where}={entries}; set {where}={ids} or larger."
            )
    if recipe.data.tokenizer is None:
        return
    found = load_tokenizer(recipe.data.tokenizer, end_of_text=recipe.data.end_of_text).get_vocab_size()
    if found > entries:
        raise DataError(
            f"{recipe.data.tokenizer}: has {found} entries, more than {where}={entries}; set {where}={found} or larger."
        )


def _set_determinism(deterministic: bool) -> None:
    if deterministic:
        # cuBLAS is deterministic only with a workspace of its own, set before its first call.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    # Filling fresh memory is a debugging aid, not a condition of determinism, and costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def _on_main(world: World, action: Callable[[], None]) -> None:
    """Do something on rank 0, and fail on every rank if it fails there."""
    failure: UserError | None = None
    if world.is_main:
        try:
            action()
        except UserError as error:
            failure = error
    message = world.gather(str(failure) if failure else None)[0]
    if message is not None:
        raise failure or ConfigError(str(message))


def _print_start(
    recipe: Recipe, engine: Engine, source: Source, position: Position, world: World, efficiency: Efficiency
) -> None:
    parameters = sum(torch.Size(shape).numel() for shape in engine.shapes.values())
    trained = sum(numel_of(item) for item in engine.objective.parameters() if item.requires_grad)
    frozen = f", {trained:,} of them trained" if trained < parameters else ""
    held = "  ".join(f"{name} {count / 1e6:.1f} MB" for name, count in engine.bytes_held().items())
    part = recipe.engine
    stage = f" zero={part.zero}" if part.kind == "deepspeed" else ""
    going_on = "resuming from" if position.step else "starting at"
    lines = [
        f"run         {recipe.run}: {going_on} step {position.step} of {recipe.train.steps}",
        f"model       {parameters:,} parameters{frozen}, {recipe.precision}",
        f"data        {len(source):,} samples an epoch, {recipe.batch.global_} a step",
        f"engine      {part.kind}{stage}, {world.size} rank(s) on {world.device.type}; per rank: {held}",
    ]
    if efficiency.step_flops is not None and efficiency.peak_flops is not None:
        peak = f"{efficiency.peak_flops / 1e12:,.0f} TFLOP/s peak of {efficiency.device}"
        lines.append(
            f"MFU         {efficiency.step_flops:.3g} model FLOPs a step, over {efficiency.num_devices} x {peak}"
        )
    print("\n".join(lines), file=sys.stderr, flush=True)


def _print_end(recipe: Recipe, folder: RunFolder) -> None:
    """What a person wants to see at the end: each loss probe before and after, other figures, the last samples."""
    rows = read_rows(folder.metrics)
    print(f"\n{folder.path}: {recipe.train.steps} steps done")
    for name in recipe.probes:
        of_probe = [row for row in rows if row.get("probe") == name]
        if not of_probe:
            continue
        first, last = of_probe[0], of_probe[-1]
        if "loss" in last:
            print(
                f"{name} loss: {first['loss']:.4f} (step {first['step']}) -> {last['loss']:.4f} (step {last['step']})"
            )
        if "text" in last:
            print(f"{name}:\n{last['prompt']}{last['text']}")
        figures = [f"{key} {value:.4g}" for key, value in last.items() if isinstance(value, float) and key != "loss"]
        if figures:
            print(f"{name}: {'  '.join(figures)}")
    if recipe.log.tensorboard:
        print(f"look at the curves: tensorboard --logdir {folder.tensorboard}")
