"""Learners that differ only in their rates, side by side in one compiled program, over the same streams."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, PRNGKeyArray, PyTree

from perdure.core import Example, Info, Learner
from perdure.execution.available import available_memory
from perdure.execution.compilation import bytes_of, compiled, finite
from perdure.execution.division import learns_faster_side_by_side
from perdure.execution.parts import Advanced
from perdure.experiments.supervised.program import (
    Evaluator,
    Keys,
    Log,
    Progress,
    advance_to_its_end,
    named_keys,
    start_state,
)
from perdure.experiments.supervised.spec import MakeModel
from perdure.experiments.supervised.streams import SeedStreams

_STRETCH_SECONDS = 0.3  # between two looks at stop requests
_FIRST_STRETCH = 20
_MEMORY_SHARE = 0.25  # of what is available, for states: a program holds copies of parts of them, and more besides


class Lane(NamedTuple):
    """A learner and its state."""

    learner: Any
    state: Any


class SideBySide(Learner[Lane]):
    """A learner whose rates are a part of its state, so that states of different rates are states of one learner."""

    needs_task: ClassVar[bool] = True

    learner: Learner[Any]

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> Lane:
        """Return the learner and its state before the first example."""
        return Lane(self.learner, self.learner.init(model, example, key))

    def observe(self, state: Lane, example: Example, key: PRNGKeyArray) -> tuple[Lane, Info]:
        """Let the state's own learner observe the example."""
        after, info = state.learner.observe(state.state, example, key)
        return Lane(state.learner, after), info

    def answering(self, state: Lane) -> PyTree:
        """Return what answers in the state's own learner."""
        return state.learner.answering(state.state)

    def predict(self, state: Lane, x: Any, task: Any) -> Float[Array, "batch outputs"]:
        """Return what the state's own learner predicts for x: (batch, ...)."""
        return state.learner.predict(state.state, x, task)


def score_side_by_side(
    streams: SeedStreams, learners: Sequence[Learner[Any]], make_model: MakeModel, advanced: Advanced
) -> Float64[np.ndarray, "learners seeds"]:
    """Return each learner's retained accuracy with each of the streams' seeds, NaN where it diverged.

    Args:
        streams: what is learned, one per seed.
        learners: prepared for the streams; they differ in nothing but rates.
        make_model: makes the network from one example, the number of outputs and a key.
        advanced: is called several times a second with the number of examples learned from since the last call, by all
            learners together with one seed; it may raise to end it all.
    """
    evaluator = Evaluator(SideBySide(learners[0]), streams.first.class_tasks)
    first = jax.jit(_start(streams, make_model, len(learners)))(_stack(learners))
    progress = _learn(streams, SideBySide(learners[0]), first, len(learners), advanced)
    losses = np.asarray(progress.log.loss).reshape(len(learners), *streams.is_real.shape)
    learned = (np.isfinite(losses) | ~streams.is_real).all(axis=2).ravel() & finite(progress.state)
    scores = _scores(streams, evaluator, progress, learned, advanced)
    return scores.reshape(len(learners), -1)


def learners_that_fit(streams: SeedStreams, learner: Learner[Any], make_model: MakeModel) -> int:
    """Return how many learners like this one may learn side by side in the memory available, at least 1."""
    shapes = jax.eval_shape(_start(streams, make_model, 1), _stack([learner]))
    return max(1, int(_MEMORY_SHARE * available_memory() / bytes_of(shapes)))


def _start(streams: SeedStreams, make_model: MakeModel, n_learners: int) -> Callable[[Learner[Any]], Progress]:
    """Return a function from learners, leaves (learners,), to their progress before the first example."""
    keys = jax.vmap(named_keys)(jnp.asarray(streams.seeds))
    n_outputs = streams.first.n_outputs
    example = streams.first_example

    def start(learner: Learner[Any], keys: Keys) -> Progress:
        state = Lane(learner, start_state(learner, make_model, example, n_outputs, keys))
        return Progress(state, Log(jnp.full(streams.length, jnp.nan)))

    # The number is told, as learners without a rate have no leaves.
    each = jax.vmap(jax.vmap(start, (None, 0)), (0, None), axis_size=n_learners)
    return lambda learners: _together(each(learners, keys))


def _stack(learners: Sequence[Learner[Any]]) -> Learner[Any]:
    return jax.tree.map(lambda *rates: jnp.asarray(rates), *learners)


def _learn(
    streams: SeedStreams, learner: SideBySide, progress: Progress, n_learners: int, advanced: Advanced
) -> Progress:
    """Return the progress after the last example."""
    stream, keys = streams.stream, jax.vmap(named_keys)(jnp.asarray(streams.seeds))
    lengths = jnp.asarray(streams.lengths, jnp.int32)
    of_all = _vectorized if learns_faster_side_by_side(learner.learner, progress.state.state) else _one_by_one

    def advance_all(
        progress: Progress, stream: Example, keys: Keys, lengths: Array, start: Array, stop: Array
    ) -> Progress:
        return _together(of_all(learner, _apart(progress, n_learners), stream, keys, lengths, start, stop))

    zero = jnp.zeros((), jnp.int32)
    program = compiled(jax.jit(advance_all, donate_argnums=0), progress, stream, keys, lengths, zero, zero)
    position, stretch = 0, _FIRST_STRETCH
    while position < streams.length:
        stop = min(position + stretch, int(streams.lengths[streams.lengths > position].min()))
        began = time.perf_counter()
        ends = (jnp.asarray(it, jnp.int32) for it in (position, stop))
        progress = jax.block_until_ready(program(progress, stream, keys, lengths, *ends))
        stretch = max(1, int(_STRETCH_SECONDS * (stop - position) / (time.perf_counter() - began)))
        advanced(n_learners * (stop - position))
        position = stop
    return progress


def _vectorized(
    learner: SideBySide, progress: Progress, stream: Example, keys: Keys, lengths: Array, start: Array, stop: Array
) -> Progress:
    """Return the progress of all, leaves (learners, seeds, ...), all at once."""
    each_seed, one_for_all = cast(Any, 0), cast(Any, None)
    axes = Example(x=each_seed, y=each_seed, task=each_seed if stream.task.ndim == 2 else one_for_all)
    seeds = (None, 0, axes, 0, 0, None, None)
    learners = (None, 0, None, None, None, None, None)
    return jax.vmap(jax.vmap(advance_to_its_end, seeds), learners)(
        learner, progress, stream, keys, lengths, start, stop
    )


def _one_by_one(
    learner: SideBySide, progress: Progress, stream: Example, keys: Keys, lengths: Array, start: Array, stop: Array
) -> Progress:
    """Return the progress of all, leaves (learners, seeds, ...), one after another."""
    tasks = jnp.broadcast_to(stream.task, (len(lengths), stream.task.shape[-1]))

    def of_seed(seed: tuple[Progress, Example, Keys, Array]) -> Progress:
        progress, own, keys, length = seed
        return advance_to_its_end(learner, progress, own, keys, length, start, stop)

    seeds = (Example(stream.x, stream.y, tasks), keys, lengths)
    return jax.lax.map(lambda one: jax.lax.map(of_seed, (one, *seeds)), progress)


def _scores(
    streams: SeedStreams,
    evaluator: Evaluator,
    progress: Progress,
    learned: Bool[np.ndarray, " lanes"],
    advanced: Advanced,
) -> Float64[np.ndarray, " lanes"]:
    """Return the mean score over all tasks, NaN for lanes that have not learned."""
    n_seeds, n_tasks = len(streams.seeds), streams.first.n_tasks
    scores = np.full((len(learned), n_tasks), np.nan)
    for seed, benchmark in enumerate(streams.benchmarks):
        for task in range(n_tasks):
            test = benchmark.test[task]
            for lane in range(seed, len(learned), n_seeds):
                if learned[lane]:
                    scores[lane, task] = evaluator.score(progress.state, lane, task, test)
            advanced(0)
    return scores.mean(axis=1)


def _apart(progress: Progress, n_learners: int) -> Progress:
    return jax.tree.map(lambda leaf: leaf.reshape(n_learners, len(leaf) // n_learners, *leaf.shape[1:]), progress)


def _together(progress: Progress) -> Progress:
    return jax.tree.map(lambda leaf: leaf.reshape(leaf.shape[0] * leaf.shape[1], *leaf.shape[2:]), progress)
