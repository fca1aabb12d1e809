"""The run: what is learned, how a step is taken, and how to go on exactly after an interruption.

Belongs here: the recipe's shape, the loop, engines, objectives, optimizer and schedules,
checkpoints, metrics, probes, export. This is the only room that knows both data and models.

Does not belong here: reading data files, layers, command-line presentation beyond `python -m train`.

    python -m train configs/quickstart.yaml train.steps=100
    torchrun --standalone --nproc-per-node 2 -m train configs/quickstart.yaml

    train.recipe       the shape of a recipe, and the checks that span its sections
    train.options      the sections that belong to no single part
    train.command      the command line above; the boundary where errors become messages
    train.run          the assembly of one run, from a recipe to its end
    train.loop         the loop
    train.interruption signals and time limits: finish the step, save, leave
    train.launchers    what torchrun, SLURM and OpenMPI tell a process about itself
    train.world        ranks: process groups, small host-side reductions
    train.engines      where parameters live and how a step is taken
    train.objectives   what is learned
    train.probes       measurements that are not the loss being trained
    train.reproduce    published claims, measured again
    train.optimizer    AdamW and its parameter groups
    train.plan         what a recipe would need on a cluster, without running it
    train.schedule     everything that follows the step
    train.state        named fragments: training state, however it is sharded
    train.checkpoint   crash-safe checkpoints of that state
    train.run_folder   what is in `runs/<name>/`, who may write there
    train.metrics      metrics.jsonl, progress; what every figure means
    train.timing       where the time of steps goes, on this rank and over ranks
    train.efficiency   model FLOPs per second, and their share of what devices can do
    train.tensorboard  the rows as TensorBoard events, laid out
    train.trackers     the rows in other trackers
    train.tracker_options   which trackers there are, and how a run goes on in each
    train.profile      a few steps under torch's profiler
    train.saved_bytes  what autograd keeps for backward, by kind of module
    train.watchdog     a step that does not end
    train.epochs       how many epochs a run draws, and whether it may
    train.bad_samples  a record of the samples that could not be read
    train.check        what a recipe would train, without building it
    train.surgery_facts what edits of a recipe would do
    train.weights      named tensors of a run or of files
    train.inference    a trained model in one process
    train.fit_predict  real tables, classified by a model fitted to a prior
    train.export       Hugging Face folders from a run
"""

__all__ = [
    "bad_samples",
    "check",
    "checkpoint",
    "command",
    "efficiency",
    "engines",
    "epochs",
    "export",
    "fit_predict",
    "inference",
    "interruption",
    "launchers",
    "loop",
    "metrics",
    "objectives",
    "optimizer",
    "options",
    "plan",
    "probes",
    "profile",
    "recipe",
    "reproduce",
    "run",
    "run_folder",
    "saved_bytes",
    "schedule",
    "state",
    "surgery_facts",
    "tensorboard",
    "timing",
    "tracker_options",
    "trackers",
    "watchdog",
    "weights",
    "world",
]
