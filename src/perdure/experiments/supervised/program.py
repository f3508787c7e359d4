"""The compiled half of a run: learning a stretch of the stream, and answering test sets.

Both take every seed at once, along the leading axis of states, streams and keys, and are compiled once a run: the
ends of a stretch are values, not shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from perdure.core import AnyArray, Example, Learner
from perdure.execution.compilation import compiled
from perdure.execution.division import Division, by_axis, learns_faster_side_by_side, seed_devices
from perdure.experiments.supervised.contract import check_contract
from perdure.learners.head import Fitted, LinearHead, flat
from perdure.metrics.alignment import gradient_alignment, gradient_cosine
from perdure.models import array_model
from perdure.streams.benchmark import LabelledSet
from perdure.updates.losses import within_task

_TEST_BATCH = 2_000  # test inputs a call: a few MB of floats, and one compiled shape for every test set


class Log(NamedTuple):
    """What each example of the stream reported, N entries a seed, NaN where not there yet."""

    loss: Float[Array, "*seeds N"]
    """Loss on the arriving example before the update."""
    correct: Float[Array, "*seeds N"] | None = None
    """Was its class predicted right before the update, 1 or 0? None for numbers, and when not requested."""
    alignment: Alignment | None = None
    """Of its gradient with that of a random past example; None when not requested."""


class Alignment(NamedTuple):
    """Do the gradients on the arriving example and on a random past one agree?"""

    before: Float[Array, "*seeds N"]
    """Dot product before the update."""
    after: Float[Array, "*seeds N"]
    """Dot product after it."""
    cosine: Float[Array, "*seeds N"]
    """Cosine of the angle between the two, before the update."""


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


def start_state(
    learner: Learner[Any],
    make_model: Callable[[Example, int, PRNGKeyArray], Any],
    example: Example,
    n_outputs: int,
    keys: Keys,
) -> Any:
    """Return a learner's state before the first example of one seed, checked against the contract.

    Args:
        learner: told the facts of its stream.
        make_model: makes the network from one example, the number of outputs and a key.
        example: the first example, for its shapes and dtypes.
        n_outputs: of the benchmark.
        keys: of the seed.
    """
    state = learner.init(array_model(make_model(example, n_outputs, keys.model)), example, keys.start)
    check_contract(learner, state, example, n_outputs, keys.learning)
    return state


def advance(
    learner: Learner[Any],
    progress: Progress,
    stream: Example,
    keys: Keys,
    start: Int[Array, ""],
    stop: Int[Array, ""],
    *,
    class_tasks: tuple[int, ...] | None = None,
) -> Progress:
    """Return the progress after learning from the examples start ≤ n < stop of one seed's stream.

    Args:
        learner: with the information about its stream.
        progress: before them.
        stream: all examples.
        keys: of the seed.
        start: place of the first example.
        stop: place after the last.
        class_tasks: for each output the task that it belongs to; what is logged as correct masks other tasks' outputs.
    """

    def learn(n: Int[Array, ""], progress: Progress) -> Progress:
        example = _pick(stream, n)
        before = progress.state
        state, info = learner.observe(before, example, jax.random.fold_in(keys.learning, n))
        log = progress.log._replace(loss=progress.log.loss.at[n].set(info.loss))
        if log.correct is not None:
            outputs = info.outputs if class_tasks is None else within_task(info.outputs, class_tasks, example.task)
            log = log._replace(correct=log.correct.at[n].set(_is_right(outputs, example.y).astype(log.correct.dtype)))
        if log.alignment is not None:
            past = _pick(stream, jax.random.randint(jax.random.fold_in(keys.alignment, n), (), 0, n, jnp.int32))
            measured = Alignment(
                before=gradient_alignment(learner, before, example, past),
                after=gradient_alignment(learner, state, example, past),
                cosine=gradient_cosine(learner, before, example, past),
            )
            alignment = jax.tree.map(lambda log, new: log.at[n].set(_unless_first(n, new)), log.alignment, measured)
            log = log._replace(alignment=alignment)
        return Progress(state, log)

    return jax.lax.fori_loop(start, stop, learn, progress)


def advance_to_its_end(
    learner: Learner[Any],
    progress: Progress,
    stream: Example,
    keys: Keys,
    length: Int[AnyArray, ""] | None,
    start: Int[AnyArray, ""],
    stop: Int[AnyArray, ""],
    *,
    class_tasks: tuple[int, ...] | None = None,
) -> Progress:
    """`advance` for a seed whose stream may have ended; what is computed beyond its end is thrown away as a whole.

    Whether it is depends on the stretch only, so that the whole state is looked at once in a stretch, not at each
    example. `length` is that of the stream, which does not end within the stretch; None if it ends after it. The other
    arguments are those of `advance`.
    """
    after = advance(learner, progress, stream, keys, jnp.asarray(start), jnp.asarray(stop), class_tasks=class_tasks)
    if length is None:
        return after
    return jax.tree.map(lambda new, old: jnp.where(start < length, new, old), after, progress)


class Advance:
    """`advance` compiled for all seeds side by side, divided among the devices: CPU cores or accelerators."""

    def __init__(
        self,
        learner: Learner[Any],
        progress: Progress,
        stream: Example,
        keys: Keys,
        *,
        shared_stream: bool,
        lengths: Int[np.ndarray, " seeds"] | None = None,
        class_tasks: tuple[int, ...] | None = None,
    ) -> None:
        """Compile, and begin at a progress.

        Args:
            learner: shared by the seeds.
            progress: leaves (seeds, ...); consumed.
            stream: x and y (seeds, N, ...), or (N, ...) if `shared_stream`; task (N,), or (seeds, N).
            keys: leaves (seeds,).
            shared_stream: do all seeds learn from the same stream?
            lengths: examples in each seed's stream, where some are shorter than N; no stretch may cross an end of one.
            class_tasks: as in `advance`.
        """
        # Seeds change tasks together. With one task number for all of them, what a learner does at a change of task,
        # or once a task seen, stays a branch or a loop, where a number a seed would make it a selection over the
        # whole state.
        seeds: Any = None if shared_stream else 0
        tasks: Any = 0 if np.ndim(stream.task) == 2 else None
        ends: Any = None if lengths is None else 0
        axes = (None, 0, Example(x=seeds, y=seeds, task=tasks), 0, ends, None, None)
        n_seeds = len(progress.log.loss)
        self._division = division = Division(seed_devices(n_seeds), n_seeds)
        fixed = (learner, stream, keys, lengths)
        self._learner, self._stream, self._keys, self._lengths = division.spread(axes[:1] + axes[2:5], fixed)
        self.begin(progress)
        alone = division.n_seeds_each == 1 or not learns_faster_side_by_side(learner, progress.state)
        one = partial(advance_to_its_end, class_tasks=class_tasks)
        each = partial(_advance_each, one, axes) if alone else jax.vmap(one, axes)
        program = jax.jit(division.on_each(each, axes), donate_argnums=1)
        self.program = compiled(program, *self._arguments(0, 0))

    def begin(self, progress: Progress) -> None:
        """Go on from a progress, leaves (seeds, ...), which is consumed."""
        (self._progress,) = self._division.spread((0,), (progress,))

    def __call__(self, start: int, stop: int) -> Float[np.ndarray, "seeds stretch"]:
        """Learn from the examples start ≤ n < stop; return their losses."""
        self._progress = jax.block_until_ready(self.program(*self._arguments(start, stop)))
        # Cut out in NumPy: JAX would compile a program for every length of a stretch.
        return np.asarray(self._progress.log.loss)[: self._division.n_seeds, start:stop]

    @property
    def progress(self) -> Progress:
        """What has been learned, leaves (seeds, ...); the next call consumes it."""
        return self._division.gathered(self._progress)

    def _arguments(self, start: int, stop: int) -> tuple[Any, ...]:
        ends = (np.int32(start), np.int32(stop))
        spread = self._division.spread((None, None), ends)
        return self._learner, self._progress, self._stream, self._keys, self._lengths, *spread


def _advance_each(advance: Callable[..., Progress], axes: tuple[Any, ...], *arguments: Any) -> Progress:
    """`advance` for one seed after another; for a single one faster than vmap's products (benchmarks/meta_steps.py)."""

    def at(seed: int | Int[Array, ""]) -> list[Any]:
        return list(by_axis(lambda argument: jax.tree.map(lambda leaf: leaf[seed], argument), axes, arguments))

    n_seeds = len(arguments[1].log.loss)
    if n_seeds == 1:
        return jax.tree.map(lambda leaf: leaf[None], advance(*at(0)))
    return jax.lax.map(lambda seed: advance(*at(seed)), jnp.arange(n_seeds))


class Evaluator:
    """Measures one learner on test sets; compiled at the first of them, once for all."""

    def __init__(self, learner: Learner[Any], class_tasks: tuple[int, ...] | None = None):
        """Compile nothing yet.

        Args:
            learner: the learner.
            class_tasks: for each output the task that it belongs to; other tasks' outputs are masked. None masks none.
        """
        self._outputs = eqx.filter_jit(partial(_outputs, learner, class_tasks))
        self._fitted = eqx.filter_jit(partial(_fitted, learner)) if isinstance(learner, LinearHead) else None
        self._last: tuple[Any, int, Any] = None, -1, None

    def score(self, states: Any, seed: int, task: int, test: LabelledSet) -> float:
        """Return how well the state of one seed does on a test set; all of it counts.

        For labels it is accuracy, the fraction that is right. For regression it is R², the share of the targets'
        variance that is explained: 1 for no error, 0 for answering with the mean, below 0 for worse.

        Args:
            states: leaves (seeds, ...).
            seed: place of the seed in that axis.
            task: number of the task, for learners that need it.
            test: the task's test set.
        """
        if np.issubdtype(test.y.dtype, np.integer):
            return float(np.mean(self.right(states, seed, task, test)))
        outputs = self._test_outputs(states, seed, task, test.x)
        return float(1 - np.sum((outputs - test.y) ** 2) / np.sum((test.y - test.y.mean(axis=0)) ** 2))

    def right(self, states: Any, seed: int, task: int, test: LabelledSet) -> Bool[np.ndarray, " n"]:
        """Tell which examples of a test set of labels are answered right; arguments as of `score`."""
        return self._test_outputs(states, seed, task, test.x).argmax(axis=1) == test.y

    def _test_outputs(self, states: Any, seed: int, task: int, x: np.ndarray) -> Float[np.ndarray, "n outputs"]:
        parts, answers = [], self._answers(states, seed)
        # A power of two, so that test sets of many sizes share few compiled programs.
        size = min(_TEST_BATCH, 1 << (len(x) - 1).bit_length())
        for first in range(0, len(x), size):
            batch = x[first : first + size]
            padded = np.pad(batch, [(0, size - len(batch))] + [(0, 0)] * (x.ndim - 1))
            outputs = self._outputs(answers, np.asarray(seed), np.asarray(task, np.int32), padded)
            parts.append(np.asarray(outputs)[: len(batch)])
        return np.concatenate(parts)

    def _answers(self, states: Any, seed: int) -> Any:
        """Return what answers: the states, or the weights of a head that are found once for all test sets."""
        if self._fitted is None:
            return states
        if self._last[0] is not states or self._last[1] != seed:
            self._last = states, seed, self._fitted(states, np.asarray(seed))
        return self._last[2]


def _fitted(learner: LinearHead[Any], states: Any, seed: AnyArray) -> Fitted:
    return learner.fitted(jax.tree.map(lambda leaf: leaf[seed], states))


def _outputs(
    learner: Learner[Any], class_tasks: tuple[int, ...] | None, states: Any, seed: AnyArray, task: AnyArray, x: AnyArray
) -> Float[Array, "batch outputs"]:
    if isinstance(learner, LinearHead):
        outputs = learner.scores_of(states, jax.vmap(flat)(x))
    else:
        state = jax.tree.map(lambda leaf: leaf[seed], states)
        outputs = learner.predict(state, x, jnp.broadcast_to(task, (len(x),)))
    return outputs if class_tasks is None else within_task(outputs, class_tasks, task)


def _is_right(outputs: Float[Array, " outputs"], y: Int[AnyArray, ""]) -> Bool[Array, ""]:
    """Tell whether the largest output is that of the class."""
    label = jnp.asarray(y)
    return jnp.argmax(outputs).astype(label.dtype) == label


def _unless_first(n: Int[Array, ""], value: Float[Array, ""]) -> Float[Array, ""]:
    """Return NaN at the first example, which has no past."""
    return jnp.where(n > 0, value, jnp.nan)


def _pick(stream: Example, n: Int[Array, ""]) -> Example:
    return jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, n, keepdims=False), stream)
