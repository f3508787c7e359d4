"""The learners of the catalogue with hyper-parameters, and what the stream must have left in the state of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from perdure.core import Example
from perdure.learners.nearest_mean import Means
from perdure.testing.streams import N_OUTPUTS


def rows_of(x):
    return [np.asarray(row).tobytes() for row in x]


def assert_same(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(np.asarray(a), np.asarray(b)), one, other)


def pick(stacked, n):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[n, ...], stacked)


def of_task(stream, task):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[stream.task == task], stream)


def last_task_of(stream):
    return of_task(stream, stream.task[-1])


def check_nothing_more(state, stream):
    """What holds of all learners is all there is to say."""


def check_reservoir(state, stream):
    examples, seen, periods = state.memory
    assert (seen, periods) == (len(stream.y), 0)
    held = rows_of(examples.x[:seen])
    assert set(held) <= set(rows_of(stream.x))
    assert len(held) == min(len(stream.y), len(examples.y))


def check_average(state, stream):
    check_reservoir(state.learning, stream)
    pairs = zip(*map(jax.tree.leaves, (state.average, state.learning.model)), strict=True)
    assert any((average != weights).any() for average, weights in pairs), "the average lags behind"


def check_scored(state, stream):
    memory = state.memory
    check_reservoir(state._replace(memory=(memory.examples.example, memory.seen, memory.periods)), stream)
    assert (memory.examples.score[: memory.seen] >= 0).all()
    assert (memory.examples.score[: memory.seen] <= 2 + 1e-5).all()


def check_balance(state, stream):
    memory, n_classes = state.memory, len(set(stream.y.tolist()))
    assert (memory.stored <= np.bincount(stream.y, minlength=N_OUTPUTS)).all()
    assert memory.seen == memory.stored.sum() <= len(memory.labels)
    assert (np.bincount(memory.labels[: memory.seen], minlength=N_OUTPUTS) == memory.stored).all()
    assert n_classes > memory.seen or (memory.stored > 0).sum() == n_classes
    assert set(rows_of(memory.examples.x[: memory.seen])) <= set(rows_of(stream.x))


def check_largest_label(state, stream):
    check_reservoir(state, stream)
    assert state.largest == stream.y.max()


def check_statistics(state, stream):
    means = state if isinstance(state, Means) else state.means
    np.testing.assert_array_equal(means.counts, np.bincount(stream.y, minlength=N_OUTPUTS))
    x = stream.x.reshape(len(stream.y), -1) / (255 if stream.x.dtype == np.uint8 else 1)
    for label in set(stream.y.tolist()):
        np.testing.assert_allclose(means.mean[label], x[stream.y == label].mean(axis=0), atol=1e-5)


def check_weighted_means(state, stream):
    weights = 0.999 ** np.arange(len(stream.y) - 1, -1, -1.0)
    expected = np.bincount(stream.y, weights, minlength=N_OUTPUTS)
    np.testing.assert_allclose(state.weights, expected, rtol=1e-4)


def check_sums(state, stream):
    x = stream.x.reshape(len(stream.y), -1) / (255 if stream.x.dtype == np.uint8 else 1)
    np.testing.assert_allclose(state.weight, len(stream.y), rtol=1e-5)
    np.testing.assert_allclose(state.mean, x.mean(axis=0), atol=1e-5)


def check_waiting(state, stream):
    x = stream.x.reshape(len(stream.y), -1) / (255 if stream.x.dtype == np.uint8 else 1)
    assert state.n_waiting == len(stream.y)
    np.testing.assert_allclose(state.x[: len(stream.y)], x, rtol=1e-6)
    np.testing.assert_allclose(state.weight, len(stream.y), rtol=1e-5)


def check_rings(state, stream):
    examples, seen = state.memory
    for task, n in enumerate(seen):
        own = of_task(stream, task)
        assert n == len(own.y)
        size = examples.y.shape[1]
        assert sorted(rows_of(examples.x[task, :n])) == sorted(rows_of(own.x[-size:]))


def check_consolidation(state, stream):
    own, held = last_task_of(stream), state.memory.examples
    n = min(len(own.y), len(held.y))
    assert rows_of(held.x[:n]) == rows_of(own.x[:n])
    stiffness = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(state.consolidation.stiffness)])
    assert (stiffness >= 0).all()
    assert (stiffness > 0).any() == (state.task > 0), "past tasks hold the weights"


def check_importance(state, stream):
    assert state.task == stream.task[-1]
    importance = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(state.importance)])
    assert (importance >= 0).all()
    assert (importance > 0).any() == (state.task > 0), "past tasks hold the weights"


def check_past_tasks(state, stream):
    assert state.task == stream.task[-1]
    np.testing.assert_array_equal(state.past, np.arange(len(state.past)) < state.task)


def check_a_network_a_task(state, stream):
    assert state.task == stream.task[-1]
    assert {len(leaf) for leaf in jax.tree.leaves(state.model)} == {stream.task[-1] + 1}


def check_a_first_layer_a_task(state, stream):
    assert len(state.model.first.weight) == stream.task[-1] + 1
    assert all(leaf.ndim <= 2 for leaf in jax.tree.leaves(state.model.upper))


def check_exemplars(state, stream):
    shown = np.bincount(stream.y, minlength=N_OUTPUTS)
    assert (state.exemplars.held <= shown).all()
    assert (state.exemplars.held > 0).tolist() == (shown > 0).tolist()
    held = rows_of(state.exemplars.x[state.exemplars.x.any(axis=tuple(range(1, state.exemplars.x.ndim)))])
    assert set(held) <= set(rows_of(stream.x))


def check_batches(state, stream):
    n = len(stream.y) // 2 * 2
    assert (state.memory.seen, state.collected.n) == (n, len(stream.y) - n)
    assert set(rows_of(state.memory.examples.x[:n])) <= set(rows_of(stream.x))


def check_batches_of_tasks(state, stream):
    last = len(last_task_of(stream).y) % 2
    assert (state.memory.seen, state.collected.n) == (len(stream.y) - last, last)
    assert set(rows_of(state.memory.examples.x[: len(stream.y) - last])) <= set(rows_of(stream.x))


class Row(NamedTuple):
    """A learner, and what holds of it but not of all."""

    values: dict[str, Any]
    """Its hyper-parameters."""
    check: Callable[[Any, Example], None] = check_nothing_more
    """Asserts of the last state of one seed what the stream must have left in it."""
    begins_afresh: bool = False
    """Does it draw weights of its own, whatever those of the model given?"""
    any_network: bool = True
    """Does it take any network, or perceptrons only?"""
    needs_class_tasks: bool = False
    """Does it need classes that belong to tasks?"""
    needs_labels: bool = False
    """Does it need classes, and cannot learn numbers?"""
    needs_network: bool = True
    """Does it learn the weights of a network?"""
    n_networks: int = 1
    """Networks that answer together, leaves (networks, ...) if there are several."""


REPLAY = {"learning_rate": 0.2, "memory_size": 4, "replay_batch_size": 3}
LOOK_AHEAD = {"memory_size": 4, "replay_batch_size": 3, "batch_size": 2, "glances": 2}
IN_CHUNKS = {**LOOK_AHEAD, "inner_steps": 2}
LEARNED = {"initial_rate": 0.1, "rate_learning_rate": 0.1}
AVERAGES = {"plastic_probability": 0.9, "plastic_decay": 0.5, "stable_probability": 0.7, "stable_decay": 0.8}
LEARNERS = {
    "online": Row({"learning_rate": 0.2}),
    "independent": Row({"learning_rate": 0.2}, check_a_network_a_task, begins_afresh=True, any_network=False),
    "task-input": Row({"learning_rate": 0.2}, check_a_first_layer_a_task, begins_afresh=True, any_network=False),
    "ewc": Row({"learning_rate": 0.2, "fisher_examples": 3, "strength": 0.5}, check_consolidation),
    "ewc-per-example": Row({"learning_rate": 0.2, "fisher_examples": 3, "strength": 0.5}, check_consolidation),
    "si": Row({"learning_rate": 0.2, "strength": 0.5, "damping": 0.1}, check_importance),
    "lwf": Row({"learning_rate": 0.2, "strength": 0.7}, check_past_tasks, needs_labels=True),
    "gem": Row({"learning_rate": 0.2, "memory_size": 10, "margin": 0.5}, check_rings),
    "a-gem": Row({"learning_rate": 0.2, "memory_size": 10, "replay_batch_size": 3}, check_rings),
    "icarl": Row(
        {"learning_rate": 0.5, "memory_size": 20, "strength": 1.0, "batch_size": 2},
        check_exemplars,
        needs_class_tasks=True,
    ),
    "er": Row(REPLAY, check_reservoir),
    "er-algorithm-5": Row(REPLAY, check_reservoir),
    "averaged-er": Row({**REPLAY, "decay": 0.5}, check_average),
    "der": Row({**REPLAY, "alpha": 0.2}, check_reservoir),
    "der++": Row({**REPLAY, "alpha": 0.2, "beta": 0.5}, check_reservoir),
    "er-ace": Row(REPLAY, check_reservoir, needs_labels=True),
    "er-ace-released": Row(REPLAY, check_largest_label, needs_labels=True),
    "er-ace-released-task-free": Row(REPLAY, check_largest_label, needs_labels=True),
    "cls-er": Row({**REPLAY, "consistency": 0.5, **AVERAGES}, check_reservoir),
    "mir": Row({**REPLAY, "candidates": 4}, check_reservoir),
    "gss-greedy": Row({**REPLAY, "compared": 2}, check_scored),
    "gdumb": Row(
        {"learning_rate": 0.2, "memory_size": 12, "epochs": 2, "batch_size": 4, "retrain_every": 1},
        check_balance,
        needs_labels=True,
    ),
    "mer": Row({**REPLAY, "beta": 0.5, "gamma": 0.7, "batches_per_example": 2}, check_reservoir),
    "mer-algorithm-6": Row({**REPLAY, "gamma": 0.5, "batches_per_example": 2}, check_reservoir),
    "mer-algorithm-7": Row({**REPLAY, "gamma": 0.5, "current_example_weight": 2.0}, check_reservoir),
    "multi-timescale-mer": Row(
        {"memory_size": 4, "replay_batch_size": 2, "batches_per_example": 2, "n_time_scales": 2},
        check_reservoir,
        n_networks=3,
    ),
    "la-maml": Row({**LOOK_AHEAD, **LEARNED}, check_batches),
    "sync": Row({**LOOK_AHEAD, **LEARNED, "learning_rate": 0.2}, check_batches),
    "c-maml": Row({**LOOK_AHEAD, "learning_rate": 0.2, "inner_rate": 0.1}, check_batches),
    "la-maml-task-incremental": Row({**IN_CHUNKS, **LEARNED}, check_batches_of_tasks),
    "sync-task-incremental": Row({**IN_CHUNKS, **LEARNED, "learning_rate": 0.2}, check_batches_of_tasks),
    "c-maml-task-incremental": Row({**IN_CHUNKS, "learning_rate": 0.2, "inner_rate": 0.1}, check_batches_of_tasks),
    "nearest-mean": Row({}, check_statistics, needs_labels=True, needs_network=False),
    "gaussian": Row({"prior_shape": 2.0, "prior_rate": 0.5}, check_statistics, needs_labels=True, needs_network=False),
    "lda": Row({"shrinkage": 0.1, "forgetting": 0.001}, check_weighted_means, needs_labels=True, needs_network=False),
    "slda": Row({"shrinkage": 0.1}, check_statistics, needs_labels=True, needs_network=False),
    "ridge": Row({"penalty": 0.1}, check_sums, needs_network=False),
    "random-fourier-ridge": Row({"frequencies": 8, "penalty": 0.1}, check_waiting, needs_network=False),
}
