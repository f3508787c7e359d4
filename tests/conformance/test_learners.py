"""Every learner of the catalogue through the same tests; a new one needs a row in `LEARNERS`."""

from __future__ import annotations

import functools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import Example
from perdure.learners.catalog import CATALOG, make_learner
from perdure.learners.hyperparameters import hyperparameters
from perdure.models import MLP
from perdure.streams.benchmark import Benchmark, TestSet

REPLAY = {"learning_rate": 0.2, "memory_size": 4, "replay_batch_size": 3}
LEARNERS = {
    "online": {"learning_rate": 0.2},
    "er": REPLAY,
    "er-algorithm-5": REPLAY,
    "mer": {**REPLAY, "beta": 0.5, "gamma": 0.7, "batches_per_example": 2},
    "mer-algorithm-6": {**REPLAY, "gamma": 0.5, "batches_per_example": 2},
    "mer-algorithm-7": {**REPLAY, "gamma": 0.5, "current_example_weight": 2.0},
}
N_OUTPUTS = 3
KEY = jax.random.key(7)

every_learner = pytest.mark.parametrize("name", LEARNERS)
every_dtype = pytest.mark.parametrize("dtype", ["uint8", "float32"])


def stream_of(n_tasks, per_task, dtype="float32", repeated_label=False):
    """Return the stream of a random benchmark of images of 2 × 3."""
    rng = np.random.default_rng(n_tasks)
    n = n_tasks * per_task
    x = rng.integers(0, 256, (n, 2, 3)).astype(dtype) if dtype == "uint8" else rng.normal(size=(n, 2, 3)).astype(dtype)
    y = np.zeros(n, np.int32) if repeated_label else rng.integers(0, N_OUTPUTS, n).astype(np.int32)
    tasks = np.repeat(np.arange(n_tasks, dtype=np.int32), per_task)
    tests = [TestSet(x[:2], y[:2])] * n_tasks
    return Benchmark("random", Example(x, y, tasks), tests, N_OUTPUTS).train


STREAMS = {
    "one task": stream_of(1, 10),
    "two tasks": stream_of(2, 5),
    "five tasks": stream_of(5, 2),
    "one example a task": stream_of(10, 1),
    "one label": stream_of(2, 5, repeated_label=True),
    "pixels": stream_of(2, 5, "uint8"),
}


def learner_of(name):
    return make_learner(name, **LEARNERS[name])


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
def test_the_state_begins_with_the_model_as_given(name, dtype):
    state = start_of(learner_of(name), stream_of(2, 5, dtype))
    assert hasattr(type(state), "_fields"), "a state is a NamedTuple"
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
    assert_same(state.model, network())


@every_learner
@every_dtype
def test_observing_changes_values_only(name, dtype):
    stream = stream_of(2, 5, dtype)
    state = start_of(learner_of(name), stream)
    after, info = jax.eval_shape(observe, learner_of(name), state, pick(stream, 0), KEY)
    assert described(after) == described(state)
    assert info.loss.shape == ()
    assert info.loss.dtype == jnp.float32


@every_learner
@every_dtype
def test_predictions_are_a_row_of_logits_an_input(name, dtype):
    learner, stream = learner_of(name), stream_of(2, 5, dtype)
    state = start_of(learner, stream)
    logits = predict(learner, state, stream.x[:4], stream.task[:4])
    assert logits.shape == (4, N_OUTPUTS)
    assert logits.dtype == jnp.float32
    alone = [predict(learner, state, stream.x[n : n + 1], stream.task[n : n + 1]) for n in range(4)]
    assert {it.shape for it in alone} == {(1, N_OUTPUTS)}
    assert_close(logits, np.concatenate(alone))


@every_learner
@pytest.mark.parametrize("stream", STREAMS)
def test_learns_any_stream_with_finite_numbers(name, stream):
    learner, stream = learner_of(name), STREAMS[stream]
    states, infos = trajectory(learner, start_of(learner, stream), stream, KEY)
    for leaf in jax.tree.leaves((states, infos)):
        assert np.isfinite(leaf).all()
    assert all((leaf[0] != leaf[-1]).any() for leaf in jax.tree.leaves(states.model)), "nothing was learnt"


@every_learner
def test_is_pure(name):
    learner, stream = learner_of(name), STREAMS["two tasks"]
    states, _ = trajectory(learner, start_of(learner, stream), stream, KEY)
    arguments = (pick(states, 5), pick(stream, 6))
    before = copied(arguments)
    first, second = (observe(learner, *arguments, KEY) for _ in range(2))
    assert_same(first, second)
    assert_same(arguments, before)


@every_learner
def test_compiled_equals_uncompiled(name):
    learner, stream = learner_of(name), STREAMS["two tasks"]
    states, _ = trajectory(learner, start_of(learner, stream), stream, KEY)
    state, example = jax.tree.map(jnp.asarray, pick(states, 5)), pick(stream, 6)
    assert_close(observe(learner, state, example, KEY), learner.observe(state, example, KEY))


@every_learner
def test_the_loop_equals_one_observation_after_another(name):
    learner, stream = learner_of(name), STREAMS["two tasks"]
    state = start_of(learner, stream)
    states, infos = trajectory(learner, state, stream, KEY)
    for n in range(len(stream.y)):
        state, info = observe(learner, state, pick(stream, n), jax.random.fold_in(KEY, n))
        assert_close((state, info), pick((states, infos), n))


@every_learner
def test_task_numbers_matter_only_to_those_that_need_them(name):
    learner, stream = learner_of(name), STREAMS["five tasks"]
    renumbered = stream._replace(task=np.random.default_rng(0).permutation(stream.task))
    told, mistold = (trajectory(learner, start_of(learner, it), it, KEY) for it in (stream, renumbered))
    models = [jax.tree.leaves(states.model) for states, _ in (told, mistold)]
    same = all(np.array_equal(one, other) for one, other in zip(*models, strict=True))
    assert same != learner.needs_task
    if not learner.needs_task:
        assert_same(told[1], mistold[1])


@every_learner
def test_seeds_side_by_side_equal_each_alone(name):
    learner = learner_of(name)
    streams = [stream_of(2, 5)._replace(x=np.roll(STREAMS["two tasks"].x, n, axis=0)) for n in range(3)]
    models = [jax.tree.map(lambda leaf, n=n: np.asarray(leaf) * np.float32(1 + n / 10), network()) for n in range(3)]
    states = [learner.init(model, pick(stream, 0), KEY) for model, stream in zip(models, streams, strict=True)]
    keys = jax.random.split(KEY, 3)
    stacked = (jax.tree.map(lambda *leaves: np.stack(leaves), *it) for it in (states, streams))
    together = side_by_side(learner, *stacked, keys)
    for n in range(3):
        assert_close(pick(together, n), trajectory(learner, states[n], streams[n], keys[n]))


@every_learner
def test_rates_side_by_side_equal_each_alone(name):
    stream = STREAMS["two tasks"]
    rates = [it.name for it in hyperparameters(learner_of(name)) if it.kind is float]
    values = {rate: np.asarray([0.5, 1.0, 1.5]) * LEARNERS[name][rate] for rate in rates}
    learners = [make_learner(name, **{**LEARNERS[name], **{it: v[n] for it, v in values.items()}}) for n in range(3)]
    stacked = jax.tree.map(lambda *leaves: np.asarray(leaves, np.float32), *learners)
    state = start_of(learners[0], stream)
    together = at_several_rates(stacked, state, stream, KEY)
    for n, learner in enumerate(learners):
        assert_close(pick(together, n), trajectory(learner, state, stream, KEY))


@every_learner
def test_every_rate_matters(name):
    learner, stream = learner_of(name), STREAMS["two tasks"]
    states, _ = trajectory(learner, start_of(learner, stream), stream, KEY)
    for it in hyperparameters(learner):
        if it.kind is float:
            other = make_learner(name, **{**LEARNERS[name], it.name: LEARNERS[name][it.name] / 2})
            others, _ = trajectory(other, start_of(other, stream), stream, KEY)
            last = [jax.tree.leaves(pick(models.model, -1)) for models in (states, others)]
            assert any((a != b).any() for a, b in zip(*last, strict=True)), f"{it.name} changes nothing"


@every_learner
def test_compiles_once_whatever_rates_tasks_and_keys(name):
    stream = STREAMS["five tasks"]
    state = start_of(learner_of(name), stream)
    rates = [it.name for it in hyperparameters(learner_of(name)) if it.kind is float]
    state, _ = observe(learner_of(name), state, pick(stream, 0), KEY)
    traces = TRACES[type(learner_of(name))]
    for n, scale in enumerate([0.5, 0.0]):
        scaled = {rate: LEARNERS[name][rate] * scale for rate in rates}
        learner = make_learner(name, **{**LEARNERS[name], **scaled})
        state, _ = observe(learner, state, pick(stream, 5 + 4 * n), jax.random.key(n))
    assert TRACES[type(learner_of(name))] == traces


@every_learner
def test_learns_an_example_that_keeps_coming(name):
    learner, stream = learner_of(name), STREAMS["two tasks"]
    same = jax.tree.map(lambda leaf: np.repeat(leaf[:1], 10, axis=0), stream)
    states, infos = trajectory(learner, start_of(learner, same), same, KEY)
    assert infos.loss[-1] < 0.2 * infos.loss[0]
    logits = predict(learner, pick(states, -1), same.x[:1], same.task[:1])
    assert logits.argmax() == same.y[0]


@every_learner
def test_a_rate_of_zero_leaves_the_weights_as_they_are(name):
    learner = make_learner(name, **{**LEARNERS[name], "learning_rate": 0})
    stream = STREAMS["two tasks"]
    states, _ = trajectory(learner, start_of(learner, stream), stream, KEY)
    assert_same(pick(states.model, -1), network())


@every_learner
def test_the_key_decides_all_chance(name):
    learner, stream = learner_of(name), STREAMS["two tasks"]
    once, twice = (trajectory(learner, start_of(learner, stream), stream, jax.random.key(3)) for _ in range(2))
    assert_same(once, twice)
