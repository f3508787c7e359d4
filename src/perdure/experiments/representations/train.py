"""Training a representation, and resuming its training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from perdure.execution.drive import Costs, Driving, drive
from perdure.execution.loggers.observers import is_installed, make_loggers
from perdure.execution.progress import Watch, say
from perdure.experiments.representations.job import PATIENCE, VALIDATE_EVERY, TrainingJob, TrainingSpec
from perdure.experiments.representations.plan import Recipe, make_recipe
from perdure.machine.process import peak_memory
from perdure.named import resume_command
from perdure.records.folder import RunFolder, own_folder
from perdure.records.representation import (
    NETWORK,
    TrainingRecord,
    TrainingSummary,
    read_recipe,
    training_title,
    write_recipe,
    write_training_summary,
)
from perdure.representation.domains import Domain
from perdure.representation.file import Trained, load_representation, save_representation
from perdure.representation.oml import Method

CHECKPOINT_SECONDS = 60.0
"""Time between two checkpoints unless told otherwise."""


def train_representation(
    domain: Domain,
    method: Method,
    *,
    steps: int,
    folder: Path | str,
    seed: int = 0,
    validate_every: int = VALIDATE_EVERY,
    patience: int = PATIENCE,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    previous: bool = False,
    progress: bool | Watch = True,
    loggers: Sequence[Any] | None = None,
) -> Trained:
    """Train a representation, and return the one that validates best.

    The folder is laid out as `perdure.records.folder` tells; it also comes to hold ``representation.safetensors`` and,
    if tensorboardX is installed, event files that TensorBoard reads. A training that was stopped resumes from its last
    checkpoint, and ends with the same weights, bit for bit, as one that was not; a finished one is read.

    Args:
        domain: what the representation is trained for.
        method: how.
        steps: number of steps, ≥ 0; none leaves the network as it was drawn.
        folder: where the record goes.
        seed: of the first weights, and of all that is drawn.
        validate_every: steps between two validations.
        patience: validations without a better score after which training ends.
        checkpoint_seconds: time between two checkpoints.
        previous: if the newest checkpoint is damaged, resume from the one before.
        progress: show a progress bar; or a function to which progress is reported.
        loggers: what is told how the run proceeds: names among csv, jsonl, tensorboard, mlflow and wandb, or own
            objects (docs/loggers.md); None for tensorboard, if it is installed. A logger that fails is left out, and
            the run continues.

    Raises:
        TypeError: if a part of domain or method cannot be described in the record.
        ValueError: if a number is out of range.
        DivergedError: if the loss is NaN or infinite; earlier checkpoints remain.
        InterruptedRunError: after Ctrl-C, SIGTERM or SIGHUP, with a checkpoint written.
        ResultsError: if the folder holds a run of another configuration, or of code that has changed.
        FolderInUseError: if another process owns the folder.
        CheckpointError: if the newest checkpoint is damaged.
        StorageError: if something cannot be written.
    """
    spec = TrainingSpec(domain, method, steps, seed, validate_every, patience)
    how = Driving(
        checkpoint_seconds=checkpoint_seconds,
        previous=previous,
        progress=progress,
        loggers=training_loggers(loggers, folder),
    )
    return _train(spec, how, Path(folder), None)


def training_loggers(given: Sequence[Any] | None, folder: Path | str) -> list[Any]:
    """Return the loggers of a training: those given; for None TensorBoard's, if it is installed."""
    if given is None:
        given = ["tensorboard"] if is_installed("tensorboard") else []
    return make_loggers(given, folder=folder)


def train_recipe(recipe: Recipe, how: Driving, folder: Path, *, seed: int, patience: int) -> Trained:
    """Train or resume what `perdure features train` names, so that `perdure resume` can; see `train_representation`."""
    spec = TrainingSpec(recipe.domain, recipe.method, recipe.steps, seed, recipe.validate_every, patience)
    return _train(spec, how, folder, recipe.request)


def resume_training(folder: Path, data_dir: Path | None, how: Driving) -> Trained:
    """Resume the training in a folder that `perdure features train` has begun; see `train_representation`.

    Args:
        folder: of the training.
        data_dir: folder to search first for raw data files.
        how: how to drive it.

    Raises:
        ResultsError: if the folder holds no training, or one that was begun from Python.
    """
    config, request = TrainingRecord.load(folder).config, read_recipe(folder)
    recipe = make_recipe(
        request["domain"], request["size"], request["method"], request["changes"], data_dir, request["command"]
    )
    return train_recipe(recipe, how, folder, seed=config["seed"], patience=config["patience"])


def _train(spec: TrainingSpec, how: Driving, folder: Path, request: dict[str, Any] | None) -> Trained:
    config = spec.config  # before anything is written, to refuse what it cannot hold
    label = f"{training_title(config)}: {spec.steps:,} steps"
    with own_folder(folder, config) as home:
        home.begin(label, {})
        if request is not None:
            write_recipe(folder, request)
        if not home.finished:
            return _train_in_folder(TrainingJob(spec, label), how, home, request)
        say(f"this is the finished training in {folder}; delete it to train again", show=how.progress)
        return load_representation(folder / NETWORK)


def _train_in_folder(job: TrainingJob, how: Driving, home: RunFolder, request: dict[str, Any] | None) -> Trained:
    costs = drive(job, how.in_folder(home, resume_command(home.path)))
    command = "" if request is None else request["command"]
    with TemporaryDirectory() as elsewhere:
        is_there = home.is_there()  # if it was deleted meanwhile, the representation is returned all the same
        path = (home.path if is_there else Path(elsewhere)) / NETWORK
        save_representation(path, job.best, dict(home.config), command)
        if is_there:
            home.log(f"finished: {job.position:,} steps, {costs.training_seconds:.1f} s of training")
            write_training_summary(home.path, _summary(job, costs))
        return load_representation(path)


def _summary(job: TrainingJob, costs: Costs) -> TrainingSummary:
    seconds = costs.training_seconds, costs.training_cpu_seconds, costs.compile_seconds
    return TrainingSummary(job.position, job.best_score, *seconds, peak_memory())
