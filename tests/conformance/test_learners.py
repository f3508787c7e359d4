"""Every learner of the catalogue, and that of docs/own-learner.md, through the same tests; a new one needs a row."""

from __future__ import annotations

import functools
from collections import Counter
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
from perdure.learners.hyperparameters import hyperparameters
from perdure.models import MLP, BatchModel, BatchNorm
from perdure.streams.arrays import from_arrays
from perdure.streams.benchmark import Benchmark, LabelledSet, stream_of
from perdure.streams.catalog import BenchmarkRecipe

N_OUTPUTS = 10
KEY = jax.random.key(7)


def rows_of(x):
    return [np.asarray(row).tobytes() for row in x]


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


def check_statistics(state, stream):
    np.testing.assert_array_equal(state.counts, np.bincount(stream.y, minlength=N_OUTPUTS))
    x = stream.x.reshape(len(stream.y), -1) / (255 if stream.x.dtype == np.uint8 else 1)
    for label in set(stream.y.tolist()):
        np.testing.assert_allclose(state.gaussians.mean[label], x[stream.y == label].mean(axis=0), atol=1e-5)


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


class Row(NamedTuple):
    """A learner, and what holds of it but not of all."""

    values: dict[str, Any]
    """Its hyper-parameters."""
    check: Callable[[Any, Example], None] = check_nothing_more
    """Asserts of the last state of one seed what the stream must have left in it."""
    begins_afresh: bool = False
    """Does it draw weights of its own, whatever those of the model given?"""
    hands_weights_on: bool = False
    """Does each task begin with the weights of the one before, whatever the rate?"""
    any_network: bool = True
    """Does it take any network, or perceptrons only?"""
    needs_class_tasks: bool = False
    """Does it need classes that belong to tasks?"""
    needs_labels: bool = False
    """Does it need classes, and cannot learn numbers?"""
    needs_network: bool = True
    """Does it learn the weights of a network?"""


REPLAY = {"learning_rate": 0.2, "memory_size": 4, "replay_batch_size": 3}
LEARNERS = {
    "online": Row({"learning_rate": 0.2}),
    "independent": Row(
        {"learning_rate": 0.2}, check_a_network_a_task, begins_afresh=True, hands_weights_on=True, any_network=False
    ),
    "task-input": Row({"learning_rate": 0.2}, check_a_first_layer_a_task, begins_afresh=True, any_network=False),
    "ewc": Row({"learning_rate": 0.2, "fisher_examples": 3, "strength": 0.5}, check_consolidation),
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
    "der++": Row({**REPLAY, "alpha": 0.2, "beta": 0.5}, check_reservoir),
    "mer": Row({**REPLAY, "beta": 0.5, "gamma": 0.7, "batches_per_example": 2}, check_reservoir),
    "mer-algorithm-6": Row({**REPLAY, "gamma": 0.5, "batches_per_example": 2}, check_reservoir),
    "mer-algorithm-7": Row({**REPLAY, "gamma": 0.5, "current_example_weight": 2.0}, check_reservoir),
    "slda": Row({"shrinkage": 0.1}, check_statistics, needs_labels=True, needs_network=False),
}


OWN = "own-learner.md"
ROWS = {**LEARNERS, OWN: Row({"learning_rate": 0.2, "decay": 0.5})}
"""The learners of the catalogue, and the one that the documentation shows how to write."""


@functools.cache
def own_learner():
    """Return the class in the first block of code of the page."""
    page = (Path(__file__).parents[2] / "docs" / OWN).read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "example"}
    exec(page.split("```python\n")[1].split("```")[0], names)
    return names["Averaged"]


def made(name, **values):
    return own_learner()(**values) if name == OWN else make_learner(name, **values)


class Kind(NamedTuple):
    """A stream of random images of 2 × 3."""

    n_tasks: int
    per_task: int
    dtype: str = "float32"
    one_label: bool = False
    one_example: bool = False


STREAMS = {
    "one task": Kind(1, 10),
    "two tasks": Kind(2, 5),
    "five tasks": Kind(5, 2),
    "one example a task": Kind(5, 1),
    "one label": Kind(2, 5, one_label=True),
    "pixels": Kind(2, 5, "uint8"),
    "one example": Kind(1, 20, one_example=True),
}


pytestmark = pytest.mark.usefixtures("compile_quickly")
every_learner = pytest.mark.parametrize("name", ROWS)
every_learner_with_a_learning_rate = pytest.mark.parametrize(
    "name", [name for name, row in ROWS.items() if "learning_rate" in row.values]
)
every_dtype = pytest.mark.parametrize("kind", ["two tasks", "pixels"])


@functools.cache
def random_benchmark(kind, class_tasks):
    """Return the benchmark of a kind, with classes that belong to tasks or with classes that all tasks have."""
    n_tasks, per_task, dtype, one_label, one_example = STREAMS[kind]
    rng = np.random.default_rng(n_tasks)
    n = n_tasks * per_task
    x = rng.integers(0, 256, (n, 2, 3)).astype(dtype) if dtype == "uint8" else rng.normal(size=(n, 2, 3)).astype(dtype)
    tasks = np.repeat(np.arange(n_tasks, dtype=np.int32), per_task)
    # Of no class are there two in a task of five: neither would be nearer to their mean, which rounding then decides.
    labels = np.resize(np.asarray([0, 0, 0, 0, 0] if one_label else [0, 1, 0, 2, 0], np.int32), n)
    labels %= N_OUTPUTS // n_tasks
    stream = Example(x, labels * n_tasks + tasks if class_tasks else labels, tasks)
    if one_example:
        stream = jax.tree.map(lambda leaf: np.repeat(leaf[:1], n, axis=0), stream)
    tests = [LabelledSet(*of_task(stream, task)[:2]) for task in range(n_tasks)]
    owners = tuple(label % n_tasks for label in range(N_OUTPUTS)) if class_tasks else None
    return Benchmark("random", stream, tests, N_OUTPUTS, owners)


def benchmark_of(name, kind):
    return random_benchmark(kind, ROWS[name].needs_class_tasks)


def learner_of(name, kind, **changes):
    """Return the learner, told what a run would tell it of the stream."""
    return prepare(made(name, **{**ROWS[name].values, **changes}), benchmark_of(name, kind))


def case(name, kind):
    return learner_of(name, kind), benchmark_of(name, kind).train


def rates_of(name):
    values = ROWS[name].values
    return {it.name: values[it.name] for it in hyperparameters(made(name, **values)) if it.kind is float}


@functools.cache
def network():
    return MLP(6, N_OUTPUTS, (4,), key=jax.random.key(0))


def pick(stacked, n):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[n, ...], stacked)


def start_of(learner, stream):
    return learner.init(network(), pick(stream, 0), KEY)


def learn(learner, state, stream, key):
    """The training loop: every example in turn, its key folded from its position."""

    def step(state, numbered):
        n, example = numbered
        state, info = learner.observe(state, example, jax.random.fold_in(key, n))
        return state, (state, info)

    return jax.lax.scan(step, state, (jnp.arange(len(stream.y)), stream))[1]


TRACES = Counter()
"""How often `observe` has been traced for each class of learner."""


@jax.jit
def observe(learner, state, example, key):
    TRACES[type(learner)] += 1
    return learner.observe(state, example, key)


def answering(learner, states):
    """Return the leaves of what answers, of one state or of several."""
    return jax.tree.leaves(learner.answering(states))


predict = jax.jit(lambda learner, *arguments: learner.predict(*arguments))
trajectory = jax.jit(learn)
side_by_side = jax.jit(jax.vmap(learn, in_axes=(None, 0, 0, 0)))
at_several_rates = jax.jit(jax.vmap(learn, in_axes=(0, None, None, None)))


def described(tree):
    return jax.tree.structure(tree), [(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in jax.tree.leaves(tree)]


def assert_same(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(np.asarray(a), np.asarray(b)), one, other)


def assert_close(one, other, tolerance=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), one, other)


def copied(tree):
    return jax.tree.map(lambda leaf: np.array(leaf), tree)


def test_every_learner_has_a_row():
    assert list(LEARNERS) == list(CATALOG)


@every_learner
@every_dtype
def test_the_state_begins_with_the_model_as_given_or_with_weights_drawn_by_the_key(name, kind):
    learner, stream = case(name, kind)
    state = start_of(learner, stream)
    assert hasattr(type(state), "_fields"), "a state is a NamedTuple"
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
    if ROWS[name].begins_afresh:
        again, other = (learner.init(network(), pick(stream, 0), key) for key in (KEY, jax.random.key(8)))
        assert_same(state, again)
        assert any((one != two).any() for one, two in zip(*map(jax.tree.leaves, (state, other)), strict=True))
    elif ROWS[name].needs_network:
        assert_same(learner.answering(state), network())


@every_learner
@every_dtype
def test_observing_changes_values_only(name, kind):
    learner, stream = case(name, kind)
    state = start_of(learner, stream)
    after, info = jax.eval_shape(observe, learner, state, pick(stream, 0), KEY)
    assert described(after) == described(state)
    assert info.outputs.shape == (N_OUTPUTS,)
    for scalar in (info.loss, *info.extra.values()):
        assert scalar.shape == ()
        assert scalar.dtype == info.outputs.dtype == jnp.float32


@every_learner
@every_dtype
def test_predictions_are_a_row_of_logits_an_input(name, kind):
    learner, stream = case(name, kind)
    state = start_of(learner, stream)
    mixed = slice(3, 7)  # two examples of each task
    logits = predict(learner, state, stream.x[mixed], stream.task[mixed])
    assert logits.shape == (4, N_OUTPUTS)
    assert logits.dtype == jnp.float32
    alone = [predict(learner, state, stream.x[n : n + 1], stream.task[n : n + 1]) for n in range(3, 7)]
    assert {it.shape for it in alone} == {(1, N_OUTPUTS)}
    assert_close(logits, np.concatenate(alone))


@pytest.mark.long
@every_learner
@pytest.mark.parametrize("kind", STREAMS)
def test_learns_any_stream_with_finite_numbers(name, kind):
    learner, stream = case(name, kind)
    start = start_of(learner, stream)
    states, infos = trajectory(learner, start, stream, KEY)
    for leaf in jax.tree.leaves((states, infos)):
        assert np.isfinite(leaf).all()
    first, last = (answering(learner, state) for state in (start, pick(states, -1)))
    assert all((one != other).any() for one, other in zip(first, last, strict=True)), "nothing was learnt"


@every_learner
@every_dtype
def test_the_outputs_reported_are_what_it_predicts_before_it_learns(name, kind):
    learner, stream = case(name, kind)
    start = start_of(learner, stream)
    states, infos = trajectory(learner, start, stream, KEY)
    for n in range(len(stream.y)):
        example = pick(stream, slice(n, n + 1))
        before = start if n == 0 else pick(states, n - 1)
        assert_close(infos.outputs[n], predict(learner, before, example.x, example.task)[0])


@every_learner
def test_predictions_come_from_what_answers(name):
    learner, stream = case(name, "two tasks")
    states, _ = trajectory(learner, start_of(learner, stream), stream, KEY)
    state, (x, _, task) = jax.tree.map(jnp.asarray, pick(states, -1)), stream
    nothing = jax.tree.map(jnp.zeros_like, learner.answering(state))
    emptied = eqx.tree_at(learner.answering, state, nothing)
    assert_same(learner.answering(emptied), nothing)
    assert (predict(learner, emptied, x, task) != predict(learner, state, x, task)).any()
    assert_same(eqx.tree_at(learner.answering, emptied, learner.answering(state)), state)


@every_learner
def test_is_pure(name):
    learner, stream = case(name, "two tasks")
    states, _ = trajectory(learner, start_of(learner, stream), stream, KEY)
    arguments = (pick(states, 5), pick(stream, 6))
    before = copied(arguments)
    first, second = (observe(learner, *arguments, KEY) for _ in range(2))
    assert_same(first, second)
    assert_same(arguments, before)


@every_learner
def test_compiled_equals_uncompiled(name):
    learner, stream = case(name, "two tasks")
    states, _ = trajectory(learner, start_of(learner, stream), stream, KEY)
    state, example = jax.tree.map(jnp.asarray, pick(states, 5)), pick(stream, 6)
    assert_close(observe(learner, state, example, KEY), learner.observe(state, example, KEY))


@every_learner
def test_the_loop_equals_one_observation_after_another(name):
    learner, stream = case(name, "two tasks")
    state = start_of(learner, stream)
    states, infos = trajectory(learner, state, stream, KEY)
    for n in range(len(stream.y)):
        state, info = observe(learner, state, pick(stream, n), jax.random.fold_in(KEY, n))
        assert_close((state, info), pick((states, infos), n))


@every_learner
def test_task_numbers_matter_only_to_those_that_need_them(name):
    learner, stream = case(name, "five tasks")
    renumbered = stream._replace(task=np.random.default_rng(0).permutation(stream.task))
    told, mistold = (trajectory(learner, start_of(learner, it), it, KEY) for it in (stream, renumbered))
    models = [answering(learner, states) for states, _ in (told, mistold)]
    same = all(np.array_equal(one, other) for one, other in zip(*models, strict=True))
    assert same != learner.needs_task
    if not learner.needs_task:
        assert_same(told[1], mistold[1])


@every_learner
def test_seeds_side_by_side_equal_each_alone(name):
    learner, stream = case(name, "two tasks")
    streams = [stream._replace(x=np.roll(stream.x, n, axis=0)) for n in range(3)]
    models = [jax.tree.map(lambda leaf, n=n: np.asarray(leaf) * np.float32(1 + n / 10), network()) for n in range(3)]
    states = [learner.init(model, pick(stream, 0), KEY) for model, stream in zip(models, streams, strict=True)]
    keys = jax.random.split(KEY, 3)
    stacked = (jax.tree.map(lambda *leaves: np.stack(leaves), *it) for it in (states, streams))
    together = side_by_side(learner, *stacked, keys)
    for n in range(3):
        assert_close(pick(together, n), trajectory(learner, states[n], streams[n], keys[n]))


@every_learner
def test_rates_side_by_side_equal_each_alone(name):
    stream = benchmark_of(name, "two tasks").train
    scales = np.asarray([0.5, 1.0, 1.5])
    learners = [
        learner_of(name, "two tasks", **{rate: scale * value for rate, value in rates_of(name).items()})
        for scale in scales
    ]
    stacked = jax.tree.map(lambda *leaves: np.asarray(leaves, np.float32), *learners)
    state = start_of(learners[0], stream)
    together = at_several_rates(stacked, state, stream, KEY)
    for n, learner in enumerate(learners):
        assert_close(pick(together, n), trajectory(learner, state, stream, KEY))


def last_answers(learner, states, stream):
    """Return what answers in the end, and what it answers: some rates change the one, some the other."""
    state = pick(states, -1)
    return learner.answering(state), predict(learner, state, stream.x, stream.task)


@every_learner
def test_every_rate_matters(name):
    learner, stream = case(name, "two tasks")
    states, _ = trajectory(learner, start_of(learner, stream), stream, KEY)
    for rate, value in rates_of(name).items():
        other = learner_of(name, "two tasks", **{rate: value / 2})
        others, _ = trajectory(other, start_of(other, stream), stream, KEY)
        last = [jax.tree.leaves(last_answers(*it, stream)) for it in ((learner, states), (other, others))]
        assert any((a != b).any() for a, b in zip(*last, strict=True)), f"{rate} changes nothing"


@every_learner
def test_compiles_once_whatever_rates_tasks_and_keys(name):
    learner, stream = case(name, "five tasks")
    state, _ = observe(learner, start_of(learner, stream), pick(stream, 0), KEY)
    traces = TRACES[type(learner)]
    for n, scale in enumerate([0.5, 0.0]):
        scaled = learner_of(name, "five tasks", **{rate: value * scale for rate, value in rates_of(name).items()})
        state, _ = observe(scaled, state, pick(stream, 5 + 4 * n), jax.random.key(n))
    assert TRACES[type(learner)] == traces


@every_learner
def test_learns_an_example_that_keeps_coming(name):
    learner, stream = case(name, "one example")
    states, infos = trajectory(learner, start_of(learner, stream), stream, KEY)
    assert infos.loss[-1] < 0.2 * infos.loss[0]
    logits = predict(learner, pick(states, -1), stream.x[:1], stream.task[:1])
    assert logits.argmax() == stream.y[0]


@every_learner_with_a_learning_rate
def test_a_rate_of_zero_leaves_the_weights_as_they_are(name):
    learner, stream = learner_of(name, "two tasks", learning_rate=0), benchmark_of(name, "two tasks").train
    start = start_of(learner, stream)
    states, _ = trajectory(learner, start, stream, KEY)
    expected = learner.answering(start)
    if ROWS[name].hands_weights_on:
        expected = jax.tree.map(lambda tasks: np.broadcast_to(tasks[:1], tasks.shape), expected)
    assert_same(learner.answering(pick(states, -1)), expected)


@every_learner
def test_the_key_decides_all_chance(name):
    learner, stream = case(name, "two tasks")
    once, twice = (trajectory(learner, start_of(learner, stream), stream, jax.random.key(3)) for _ in range(2))
    assert_same(once, twice)


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
LENGTHS = ["one task", "two tasks", "five tasks", "one example a task", "one label"]
MASKED = {kind: functools.partial(random_benchmark, kind, True) for kind in LENGTHS}


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
