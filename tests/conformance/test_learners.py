"""Every learner of the catalogue, and that of docs/own-learner.md, keeps its contract; a new one needs a row here."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import Example
from perdure.experiments.supervised.run import run
from perdure.experiments.supervised.spec import prepare
from perdure.learners.catalog import CATALOG, make_learner
from perdure.learners.nearest_mean import Means
from perdure.models import MLP, BatchModel, BatchNorm
from perdure.streams.arrays import from_arrays
from perdure.streams.benchmark import Benchmark, LabelledSet, stream_of
from perdure.streams.catalog import BenchmarkRecipe
from perdure.testing import check_learner
from perdure.testing.streams import KINDS, N_OUTPUTS, small_benchmark
from tests.conftest import first_short, load_module


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
        {"learning_rate": 0.2, "memory_size": 6, "epochs": 2, "batch_size": 4, "retrain_every": 2},
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


def own_learner(path):
    """Return the learner in the first block of code of docs/own-learner.md, read as a module of its own."""
    page = (Path(__file__).parents[2] / "docs" / "own-learner.md").read_text(encoding="utf-8")
    file = path / "own_learner.py"
    file.write_text(page.split("```python\n")[1].split("```")[0], encoding="utf-8")
    module = load_module("own_learner", file)
    return module.Averaged(learning_rate=0.2, decay=0.5)


every_learner = pytest.mark.parametrize("name", LEARNERS)


QUICK = ("mer", "slda")
"""Learners of different kinds, whose checks run with the short tests."""


def test_every_learner_has_a_row():
    assert list(LEARNERS) == list(CATALOG)


@pytest.mark.parametrize("name", first_short([*QUICK, *(name for name in LEARNERS if name not in QUICK)], len(QUICK)))
def test_conforms(name):
    assert check_learner(make_learner(name, **LEARNERS[name].values)).failures == []


def test_the_learner_of_the_documentation_conforms(tmp_path):
    assert check_learner(own_learner(tmp_path)).failures == []


@every_learner
@pytest.mark.parametrize("kind", ["two tasks", "pixels"])
def test_the_state_begins_with_the_model_as_given_or_with_weights_drawn_by_the_key(name, kind):
    row, network = LEARNERS[name], MLP(6, N_OUTPUTS, (4,), key=jax.random.key(0))
    benchmark = small_benchmark(kind, class_tasks=row.needs_class_tasks)
    learner = prepare(make_learner(name, **row.values), benchmark)
    first = jax.tree.map(lambda leaf: leaf[0], benchmark.train)
    state, again, other = (learner.init(network, first, jax.random.key(seed)) for seed in (7, 7, 8))
    if row.begins_afresh:
        assert_same(state, again)
        assert any((one != two).any() for one, two in zip(*map(jax.tree.leaves, (state, other)), strict=True))
    elif row.needs_network:
        answering = learner.answering(state)
        for one in [answering] if row.n_networks == 1 else [pick(answering, n) for n in range(row.n_networks)]:
            assert_same(one, network)


# --- whole runs


def drawn_sets(shape, labels_of_tasks, sizes):
    """Return for each task so many images of random pixels, with labels drawn from those given."""
    rng = np.random.default_rng(0)
    return [
        LabelledSet(rng.integers(0, 256, (n, *shape), dtype=np.uint8), rng.choice(labels, n).astype(np.int32))
        for n, labels in zip(sizes, labels_of_tasks, strict=True)
    ]


def colour_images():
    """Like cifar100: the outputs of other tasks are masked; one example a task."""
    labels, owners = np.arange(N_OUTPUTS).reshape(5, 2), np.arange(N_OUTPUTS) // 2
    train, tests = (drawn_sets((3, 2, 2), labels, [n] * 5) for n in (1, 4))
    return Benchmark("colour images", stream_of(train), tests, N_OUTPUTS, tuple(map(int, owners)))


def split():
    """Like mnist-split: two classes a task and one head for all; five tasks, not of one length."""
    labels = np.arange(N_OUTPUTS).reshape(5, 2)
    return from_arrays(drawn_sets((4, 4), labels, [2, 3, 2, 4, 1]), drawn_sets((4, 4), labels, [4] * 5))


def characters():
    """Like omniglot, more classes in one task than in another; but one label is all that is shown."""
    shown, tested = drawn_sets((5, 5), [[2], [2]], [4, 6]), drawn_sets((5, 5), [[0, 1, 2], range(3, 10)], [5, 5])
    return from_arrays(shown, tested, n_outputs=N_OUTPUTS)


def numbers():
    """Regression on two targets; one task."""
    x = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    y = np.stack([x.sum(axis=1), x[:, 0] - 1], axis=1)
    return from_arrays([(x[:8], y[:8])], [(x[8:], y[8:])])


WITH_CLASS_TASKS: dict[str, Callable[[], Any]] = {"colour images": colour_images}
LABELS: dict[str, Callable[[], Any]] = {
    "digits": lambda: BenchmarkRecipe("digits-rotations", {"tasks": 2, "examples_per_task": 5}),
    "split": split,
    "characters": characters,
    **WITH_CLASS_TASKS,
}
NUMBERS: dict[str, Callable[[], Any]] = {"numbers": numbers}
LENGTHS = [kind for kind in KINDS if kind not in ("pixels", "one example that keeps coming")]
MASKED = {kind: functools.partial(small_benchmark, kind, class_tasks=True) for kind in LENGTHS}


def supported(row):
    """Return the benchmarks that a learner can learn."""
    if row.needs_class_tasks:
        return MASKED | WITH_CLASS_TASKS
    return LABELS if row.needs_labels else LABELS | NUMBERS


RUNS = [
    pytest.param(name, make, id=f"{name}-{kind}")
    for name, row in LEARNERS.items()
    for kind, make in supported(row).items()
]


class Normalizing(BatchModel):
    """Batch normalisation of each channel of images (channels, height, width), then a linear layer."""

    norm: BatchNorm
    head: eqx.nn.Linear

    def __call__(self, x):
        return self.head(self.norm(jnp.moveaxis(x, 0, -1), training=False)[0].ravel())

    def in_training(self, x, mask=None):
        normalised, norm = self.norm(jnp.moveaxis(x, 1, -1), training=True, mask=mask)
        return jax.vmap(lambda one: self.head(one.ravel()))(normalised), Normalizing(norm, self.head)


def perceptron(example, n_outputs, key):
    return MLP(example.x.size, n_outputs, (4,), key=key)


def normalizing(example, n_outputs, key):
    return Normalizing(BatchNorm(len(example.x)), eqx.nn.Linear(example.x.size, n_outputs, key=key))


@pytest.mark.long
@pytest.mark.parametrize(("name", "make"), RUNS)
def test_runs_on_every_benchmark_that_it_supports(name, make):
    row, given = LEARNERS[name], make()
    model = normalizing if row.any_network and make is colour_images else perceptron
    result = run(make_learner(name, **row.values), given, model=model, evaluation="full", progress=False)
    benchmark = given if isinstance(given, Benchmark) else given(0)
    n_tasks = benchmark.n_tasks
    assert result.accuracy.shape == (1, n_tasks + 1, n_tasks)
    assert np.isfinite(result.accuracy).all()
    assert (result.accuracy <= 1).all()
    assert benchmark.regression or (result.accuracy >= 0).all()
    assert result.losses.shape == (1, len(benchmark.train.y))
    assert np.isfinite(result.losses).all()
    assert (result.losses >= 0).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.states))
    assert result.metrics["retained_accuracy"].mean == pytest.approx(result.accuracy[0, -1].mean())
    row.check(pick(result.states, 0), jax.tree.map(np.asarray, benchmark.train))
