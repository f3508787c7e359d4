"""The compiled half of a run: learning a stretch of the stream, and counting correct answers.

Both take every seed at once, along the leading axis of states, streams and keys, and are compiled once a run: the
ends of a stretch are values, not shapes.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from perdure.core import AnyArray, Example, Learner
from perdure.metrics.alignment import gradient_alignment, gradient_cosine
from perdure.streams.benchmark import TestSet

_CPU_OPTIONS: dict[str, Any] = {"xla_cpu_copy_insertion_use_region_analysis": True}
"""Without it XLA copies the whole memory at every example."""
_TEST_BATCH = 2_000  # test inputs a call: a few MB of floats, and one compiled shape for every test set


class Log(NamedTuple):
    """What each example of the stream reported, N entries a seed, NaN where not there yet."""

    loss: Float[Array, "*seeds N"]
    """Loss on the arriving example before the update."""
    alignment: Float[Array, "*seeds N"] | None = None
    """Dot product of its gradient with that of a random past example; None when not asked for."""
    cosine: Float[Array, "*seeds N"] | None = None
    """Cosine of the angle between the two; None when not asked for."""


class Progress(NamedTuple):
    """All that learning changes."""

    state: Any
    log: Log


class Keys(NamedTuple):
    """One seed's random keys, each for one purpose."""

    model: PRNGKeyArray
    """Initial weights."""
    start: PRNGKeyArray
    """Whatever the learner draws before the first example."""
    learning: PRNGKeyArray
    """Folded with an example's position: all that learning from it leaves to chance."""
    alignment: PRNGKeyArray
    """Folded with an example's position: the past example that it is compared with."""


def named_keys(seed: int | Int[Array, ""]) -> Keys:
    """Return the keys of a seed."""
    root = jax.random.key(seed)
    return Keys(*(jax.random.fold_in(root, purpose) for purpose in range(len(Keys._fields))))


def advance(
    learner: Learner[Any],
    progress: Progress,
    stream: Example,
    keys: Keys,
    start: Int[Array, ""],
    stop: Int[Array, ""],
) -> Progress:
    """Return the progress after learning from the examples start ≤ n < stop of one seed's stream."""

    def learn(n: Int[Array, ""], progress: Progress) -> Progress:
        example = _pick(stream, n)
        state, info = learner.observe(progress.state, example, jax.random.fold_in(keys.learning, n))
        log = progress.log._replace(loss=progress.log.loss.at[n].set(info.loss))
        if log.alignment is not None and log.cosine is not None:
            past = _pick(stream, jax.random.randint(jax.random.fold_in(keys.alignment, n), (), 0, n, jnp.int32))
            pair = (learner, progress.state, example, past)  # the state before the update
            log = log._replace(
                alignment=log.alignment.at[n].set(_unless_first(n, gradient_alignment(*pair))),
                cosine=log.cosine.at[n].set(_unless_first(n, gradient_cosine(*pair))),
            )
        return Progress(state, log)

    return jax.lax.fori_loop(start, stop, learn, progress)


def compile_advance(
    learner: Learner[Any], progress: Progress, stream: Example, keys: Keys, *, shared_stream: bool
) -> Any:
    """Return `advance` compiled for all seeds side by side; it consumes the progress that it is given.

    Args:
        learner: shared by the seeds.
        progress: leaves (seeds, ...).
        stream: leaves (seeds, N, ...), or (N, ...) if `shared_stream`.
        keys: leaves (seeds,).
        shared_stream: do all seeds learn from the same stream?
    """
    axes = (None, 0, None if shared_stream else 0, 0, None, None)
    position = jnp.zeros((), jnp.int32)
    one_seed = keys.learning.shape == (1,)
    program = jax.jit(partial(_advance_one, axes) if one_seed else jax.vmap(advance, axes), donate_argnums=1)
    lowered = program.lower(learner, progress, stream, keys, position, position)
    return lowered.compile(_CPU_OPTIONS if jax.default_backend() == "cpu" else None)


def _advance_one(axes: tuple[int | None, ...], *arguments: Any) -> Progress:
    """`advance` for a single seed, without the slower products that vmap makes (benchmarks/meta_steps.py)."""
    unbatched = (
        argument if axis is None else jax.tree.map(lambda leaf: leaf[0], argument)
        for argument, axis in zip(arguments, axes, strict=True)
    )
    return jax.tree.map(lambda leaf: leaf[None], advance(*unbatched))


def finite(state: Any) -> Bool[np.ndarray, " seeds"]:
    """Tell for each seed whether all floats of its state are finite."""
    leaves = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return np.all([np.isfinite(np.asarray(leaf)).reshape(len(leaf), -1).all(axis=1) for leaf in leaves], axis=0)


class Examiner:
    """Measures test accuracies of one learner; compiled at the first test set, once for all."""

    def __init__(self, learner: Learner[Any]):
        """Compile nothing yet."""
        self._count = eqx.filter_jit(partial(_count_correct, learner))

    def accuracy(self, states: Any, seed: int, task: int, test: TestSet) -> float:
        """Return the fraction of a test set that the state of one seed gets right (all of it counts).

        Args:
            states: leaves (seeds, ...).
            seed: place of the seed in that axis.
            task: number of the task, for learners that need it.
            test: the task's test set.
        """
        correct = 0
        for first in range(0, len(test.y), _TEST_BATCH):
            x, y = test.x[first : first + _TEST_BATCH], test.y[first : first + _TEST_BATCH]
            missing = _TEST_BATCH - len(y)
            x = np.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1))
            y = np.pad(y.astype(np.int32), (0, missing), constant_values=-1)  # matches no prediction
            correct += int(self._count(states, jnp.asarray(seed), jnp.asarray(task), x, y))
        return correct / len(test.y)


def _count_correct(
    learner: Learner[Any], states: Any, seed: Array, task: Array, x: AnyArray, y: AnyArray
) -> Int[Array, ""]:
    state = jax.tree.map(lambda leaf: leaf[seed], states)
    logits = learner.predict(state, x, jnp.broadcast_to(task, y.shape))
    return jnp.sum(jax.lax.argmax(logits, 1, jnp.int32) == y)


def _unless_first(n: Int[Array, ""], value: Float[Array, ""]) -> Float[Array, ""]:
    """Return NaN at the first example, which has no past."""
    return jnp.where(n > 0, value, jnp.nan)


def _pick(stream: Example, n: Int[Array, ""]) -> Example:
    return jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, n, keepdims=False), stream)
