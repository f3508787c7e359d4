"""Training a representation: chunks of steps, validation, progress, checkpoints, logs."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from perdure.execution.progress import count_progress
from perdure.experiments.representations.events import event_log
from perdure.machine.signals import InterruptedRunError, StopRequests
from perdure.records import run as results
from perdure.records.description import describe
from perdure.representation.domains import Domain
from perdure.representation.file import Trained, load_representation, save_representation
from perdure.representation.network import Representation
from perdure.representation.oml import Measured, Method
from perdure.storage.checkpoints import SAME_COMMAND, load_checkpoint, save_checkpoint
from perdure.storage.files import make_folder, write_json
from perdure.updates.gradient import TrainState, init_train_state

FORMAT = 1
CONFIG = "training.json"
_CHUNK_SECONDS = 1.0  # between two looks at the clock and at stop requests
_FIRST_CHUNK = 5


class TrainingDivergedError(ArithmeticError):
    """Training has reached NaN or infinity."""


class Training(NamedTuple):
    """A training at one step."""

    position: int
    """Steps taken."""
    now: TrainState
    best: Representation
    """The one with the best validation score so far."""
    best_score: Float[Array, ""]
    stale: int
    """Validations since then."""
    seconds: float
    """Time spent so far."""


def train_representation(
    domain: Domain,
    method: Method,
    *,
    steps: int,
    folder: Path | str,
    seed: int = 0,
    validate_every: int = 5000,
    patience: int = 10,
    checkpoint_seconds: float = 60.0,
    previous: bool = False,
    progress: bool = True,
    command: str = "",
) -> Trained:
    """Train a representation, and return the one that validates best.

    The folder comes to hold ``training.json``, what was asked; ``log.txt``; ``checkpoints``; event files that
    TensorBoard reads, if tensorboardX is installed; and ``representation.safetensors``, which is written last. A
    training that was stopped goes on from its last checkpoint, and ends bit-identical to one that was not.

    Args:
        domain: what the representation is trained for.
        method: how.
        steps: number of steps, ≥ 0; none leaves the network as it was drawn.
        folder: where the record goes.
        seed: of the first weights, and of all that is drawn.
        validate_every: steps between two validations.
        patience: validations without a better score after which training ends.
        checkpoint_seconds: time between two checkpoints.
        previous: if the newest checkpoint is damaged, go on from the one before.
        progress: show a progress bar.
        command: what would do all this from the command line, for the record.

    Raises:
        ValueError: if a number is out of range.
        TrainingDivergedError: if the loss is NaN or infinite; earlier checkpoints remain.
        InterruptedRunError: after Ctrl-C or SIGTERM, with a checkpoint written.
        ResultsError: if the folder holds a training of another configuration.
        CheckpointError: if the newest checkpoint is damaged.
        StorageError: if something cannot be written.
    """
    if steps < 0 or min(validate_every, patience) < 1 or seed < 0:
        raise ValueError(
            f"steps = {steps}, seed = {seed}, validate_every = {validate_every} and patience = {patience} were given, "
            "expected steps and seed ≥ 0, the others ≥ 1; mend what is below"
        )
    folder = Path(folder)
    config = {
        "format": FORMAT,
        "domain": describe(domain),
        "method": describe(method),
        "steps": steps,
        "seed": seed,
        "validate_every": validate_every,
        "patience": patience,
    }
    finished = folder / "representation.safetensors"
    _open(folder, config)
    if not finished.exists():
        start = load_checkpoint(
            folder / "checkpoints", _start(domain, method, seed), previous=previous, remedy=SAME_COMMAND
        )
        settings = _Settings(domain, method, steps, seed, validate_every, patience, checkpoint_seconds, folder)
        end = _train(settings, start or _start(domain, method, seed), show=progress)
        save_representation(finished, end.best, config, command)
        results.append_log(folder, f"finished after {end.position} steps and {end.seconds:.0f} s")
    return load_representation(finished)


class _Settings(NamedTuple):
    domain: Domain
    method: Method
    steps: int
    seed: int
    validate_every: int
    patience: int
    checkpoint_seconds: float
    folder: Path


def _open(folder: Path, config: dict[str, Any]) -> None:
    path = folder / CONFIG
    if path.exists():
        results.refuse_another(folder, results.read_json(path), config)
        return
    make_folder(folder)
    write_json(path, config)
    results.write_environment(folder, str(jax.devices()[0].device_kind), {})


def _start(domain: Domain, method: Method, seed: int) -> Training:
    model = domain.new_model(_keys(seed)[0])
    now = init_train_state(model, method.optimizer())
    return Training(0, now, jax.tree.map(jnp.copy, model), jnp.asarray(-jnp.inf), 0, 0.0)


def _keys(seed: int) -> tuple[PRNGKeyArray, PRNGKeyArray, PRNGKeyArray]:
    """Return the keys of the first weights, of the steps and of validation."""
    model_key, step_key, validation_key = jax.random.split(jax.random.key(seed), 3)
    return model_key, step_key, validation_key


@partial(jax.jit, donate_argnums=2)
def take_steps(
    method: Method, domain: Domain, now: TrainState, key: PRNGKeyArray, start: Array, stop: Array
) -> tuple[TrainState, Measured]:
    """Return the descent after steps start ≤ n < stop, and means of what they have measured; `now` is consumed."""

    def step(n: Array, carry: tuple[TrainState, Measured]) -> tuple[TrainState, Measured]:
        now, total = carry
        now, measured = method.step(now, domain, jax.random.fold_in(key, n))
        return now, jax.tree.map(jnp.add, total, measured)

    nothing = Measured(*[jnp.zeros(())] * 3)
    now, total = jax.lax.fori_loop(start, stop, step, (now, nothing))
    return now, jax.tree.map(lambda it: it / (stop - start), total)


@jax.jit
def _validate(domain: Domain, model: Representation, key: PRNGKeyArray) -> Float[Array, ""]:
    return domain.validation_score(model, key)


def _train(settings: _Settings, training: Training, *, show: bool) -> Training:
    """Return the training after its last step."""
    _, step_key, validation_key = _keys(settings.seed)
    method, domain = jax.tree.map(jnp.asarray, (settings.method, settings.domain))
    if training.position == 0:
        training = training._replace(best_score=_validate(domain, training.best, validation_key))
    chunk, saved = _FIRST_CHUNK, time.monotonic()
    label = f"{settings.folder}: {settings.steps:,} steps"
    with (
        StopRequests() as stop,
        count_progress(label, training.position, settings.steps, "steps", show=show) as tell,
        event_log(settings.folder, training.position + 1) as write_events,
    ):
        while training.position < settings.steps and training.stale < settings.patience:
            began = time.perf_counter()
            start = training.position
            due = (start // settings.validate_every + 1) * settings.validate_every
            end = min(start + chunk, due, settings.steps)
            now, measured = jax.block_until_ready(
                take_steps(method, domain, training.now, step_key, jnp.asarray(start), jnp.asarray(end))
            )
            took = time.perf_counter() - began
            _check(measured, start, end)
            training = training._replace(position=end, now=now)
            if end == due or end == settings.steps:
                training = _validated(training, domain, validation_key)
            training = training._replace(seconds=training.seconds + time.perf_counter() - began)
            write_events(end, _curves(training, measured, (end - start) / took))
            tell(end, (end - start) / took, _words(measured, training))
            chunk = max(1, int((end - start) / took * _CHUNK_SECONDS))
            if stop.received is not None or time.monotonic() - saved > settings.checkpoint_seconds:
                save_checkpoint(settings.folder / "checkpoints", training)
                saved = time.monotonic()
            if stop.received is not None and end < settings.steps:
                where = f"stopped at step {end:,} of {settings.steps:,}"
                results.append_log(settings.folder, where)
                raise InterruptedRunError(f"{where}; the same command goes on", stop.received)
    return training


def _validated(training: Training, domain: Domain, key: PRNGKeyArray) -> Training:
    """Return the training with its best network so far."""
    score = _validate(domain, training.now.model, key)
    if score > training.best_score:
        return training._replace(best=jax.tree.map(jnp.copy, training.now.model), best_score=score, stale=0)
    return training._replace(stale=training.stale + 1)


def _check(measured: Measured, start: int, end: int) -> None:
    if not np.isfinite(measured.loss):
        raise TrainingDivergedError(
            f"training diverged: the loss is {measured.loss} between steps {start:,} and {end:,}; lower the rates. "
            "Checkpoints written before stay"
        )


def _curves(training: Training, measured: Measured, speed: float) -> dict[str, float]:
    """Return the numbers to be logged, by the names of their curves."""
    curves = {f"training/{name}": float(value) for name, value in zip(Measured._fields, measured, strict=True)}
    return curves | {"training/steps_per_second": speed, "validation/best_score": float(training.best_score)}


def _words(measured: Measured, training: Training) -> str:
    loss, before, after = map(float, measured)
    return f"loss {loss:.3f}, score {before:.3f} → {after:.3f}, best validation {float(training.best_score):.3f}"
