"""The training of a representation as a job: steps, and validation at regular intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int64, PRNGKeyArray

from perdure.execution.job import DivergedError, Job
from perdure.experiments.supervised.spec import check_seed
from perdure.records.describe import describe
from perdure.records.folder import FORMAT
from perdure.records.representation import KIND
from perdure.representation.domains import Domain
from perdure.representation.network import Representation
from perdure.representation.oml import Measured, Method
from perdure.updates.gradient import TrainState, init_train_state

VALIDATE_EVERY = 5_000
PATIENCE = 20


@dataclass(frozen=True)
class TrainingSpec:
    """All that decides a trained representation.

    Raises:
        ValueError: if a number is out of range.
    """

    domain: Domain
    method: Method
    steps: int
    """Number of steps, ≥ 0; none leaves the network as it was drawn."""
    seed: int = 0
    """Of the first weights, and of all that is drawn."""
    validate_every: int = VALIDATE_EVERY
    """Steps between two validations."""
    patience: int = PATIENCE
    """Validations without a better score after which training ends."""

    def __post_init__(self) -> None:
        if self.steps < 0 or min(self.validate_every, self.patience) < 1:
            raise ValueError(
                f"steps = {self.steps}, validate_every = {self.validate_every} and patience = {self.patience}, "
                "expected steps ≥ 0, the others ≥ 1"
            )
        check_seed(self.seed)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The training's config.json.

        Raises:
            TypeError: naming a part of the domain or the method that a record cannot hold.
        """
        return {
            "format": FORMAT,
            "kind": KIND,
            "domain": describe(self.domain, "domain"),
            "method": describe(self.method, "method"),
            "steps": self.steps,
            "seed": self.seed,
            "validate_every": self.validate_every,
            "patience": self.patience,
        }


class TrainingSnapshot(NamedTuple):
    """All that training changes."""

    now: TrainState
    best: Representation
    """The one with the best validation score so far."""
    best_score: Float[Array, ""]
    stale: Int64[np.ndarray, ""]
    """Validations since then."""


class TrainingJob(Job):
    """A training of a representation."""

    unit: ClassVar[str] = "steps"
    first_stretch = 5

    def __init__(self, spec: TrainingSpec, label: str):
        """Draw the first weights.

        Args:
            spec: what to train, and how.
            label: the training in a few words.
        """
        self._spec = spec
        self.label = label
        self.length = spec.steps
        self.position = 0
        self._method, self._domain = jax.tree.map(jnp.asarray, (spec.method, spec.domain))
        self._model_key, self._step_key, self._validation_key = jax.random.split(jax.random.key(spec.seed), 3)
        model = spec.method.new_model(spec.domain, self._model_key)
        now = init_train_state(model, spec.method.optimizer())
        none = jnp.asarray(-jnp.inf)
        self._at = TrainingSnapshot(now, jax.tree.map(jnp.copy, model), none, np.asarray(0, np.int64))
        self._measured = Measured(*[jnp.zeros(())] * 3)

    @property
    def boundaries(self) -> Sequence[int]:
        """Steps before which the network is validated, and the end."""
        return [*range(0, self.length, self._spec.validate_every), self.length]

    @property
    def ended(self) -> bool:
        """Have all steps been taken, or has validation not improved for long?"""
        return self.position >= self.length or int(self._at.stale) >= self._spec.patience

    @property
    def best(self) -> Representation:
        """The network that has validated best."""
        return self._at.best

    @property
    def best_score(self) -> float:
        """Its validation score; minus infinity before the first validation."""
        return float(self._at.best_score)

    def compile(self) -> None:
        """Compile nothing yet: the first stretch does, since JAX keeps the program by its arguments' shapes."""

    def advance(self, stop: int) -> None:
        """Take steps."""
        start, ends = self.position, (jnp.asarray(self.position), jnp.asarray(stop))
        now, self._measured = jax.block_until_ready(
            take_steps(self._method, self._domain, self._at.now, self._step_key, *ends)
        )
        if not np.isfinite(self._measured.loss):
            raise DivergedError(
                f"the loss is {self._measured.loss} between steps {start:,} and {stop:,}; lower the rates"
            )
        self._at = self._at._replace(now=now)
        self.position = stop

    def evaluate(self) -> None:
        """Validate, and keep the network if none before was better: of equally good ones the last has learned most."""
        if self.position == 0:
            score = _validate(self._domain, self._at.best, self._validation_key)
            self._at = self._at._replace(best_score=score)
            return
        score = _validate(self._domain, self._at.now.model, self._validation_key)
        stale = 0 if score > self._at.best_score else self._at.stale + 1
        if score >= self._at.best_score:
            self._at = self._at._replace(best=jax.tree.map(jnp.copy, self._at.now.model), best_score=score)
        self._at = self._at._replace(stale=np.asarray(stale, np.int64))

    def check(self) -> None:
        """Check nothing more than `advance` does: a loss that is finite had finite weights."""

    def snapshot(self) -> TrainingSnapshot:
        """Return network, optimizer and the best network so far."""
        return self._at

    def restore(self, snapshot: TrainingSnapshot, position: int) -> None:
        """Go to a position."""
        self._at = snapshot
        self.position = position

    def report(self) -> str:
        """Return loss, accuracy or error before and after learning, and the best validation."""
        loss, before, after = map(float, self._measured)
        what, best = ("error", -self.best_score) if self._spec.domain.in_errors else ("accuracy", self.best_score)
        return f"loss {loss:.3f}, {what} {before:.3f} → {after:.3f}, best validation {best:.3f}"

    def progress_values(self) -> dict[str, float]:
        """Return loss, and scores before and after learning, means over the last stretch."""
        return {f"training/{name}": float(it) for name, it in self._measured._asdict().items()}

    def evaluation_values(self) -> dict[str, float]:
        """Return the best validation score."""
        return {"validation/best_score": self.best_score}


@partial(jax.jit, donate_argnums=2)
def take_steps(
    method: Method, domain: Domain, now: TrainState, key: PRNGKeyArray, start: Array, stop: Array
) -> tuple[TrainState, Measured]:
    """Return the state after steps start ≤ n < stop, and means of what they have measured; `now` is consumed."""

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
