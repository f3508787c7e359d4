from __future__ import annotations

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from perdure.core import Example, StreamInfo
from perdure.learners.gem import AGEM, GEM, GEMState, past_gradients
from perdure.learners.online import Online
from perdure.memory.task_rings import ring
from perdure.models import MLP
from perdure.updates.gradient import example_gradient, example_loss
from perdure.updates.losses import cross_entropy

RATE = 0.3
KEY = jax.random.key(0)


def stream_of(n_tasks, per_task, seed=0):
    """Return a stream of random inputs and labels: tasks that have nothing in common and get in each other's way."""
    rng = np.random.default_rng(seed)
    n = n_tasks * per_task
    y = rng.integers(0, 3, n).astype(np.int32)
    task = np.repeat(np.arange(n_tasks, dtype=np.int32), per_task)
    return jax.tree.map(jnp.asarray, Example(rng.normal(size=(n, 4)).astype(np.result_type(float)), y, task))


def stream_info(n_tasks, per_task=6):
    return StreamInfo(3, n_tasks, (per_task,) * n_tasks)


def gem(n_tasks=3, slots=4, **changes):
    return GEM(
        **{
            "learning_rate": RATE,
            "memory_size": slots * n_tasks,
            "margin": 0.0,
            "stream_info": stream_info(n_tasks),
            **changes,
        }
    )


def agem(n_tasks=3, slots=4, **changes):
    values = {
        "learning_rate": RATE,
        "memory_size": slots * n_tasks,
        "replay_batch_size": 5,
        "stream_info": stream_info(n_tasks),
    }
    return AGEM(**{**values, **changes})


def network(seed=0):
    return MLP(4, 3, (5,), key=jax.random.key(seed))


@functools.partial(jax.jit, static_argnums=0)
def observe(learner, state, example, key=KEY):
    return learner.observe(state, example, key)[0]


@functools.partial(jax.jit, static_argnums=0)
def states_along(learner, model, stream):
    """Return the states before the first example and after each, leaves (N + 1, ...)."""
    start = learner.init(model, at(stream, 0), KEY)

    def learn(state, example):
        state, _ = learner.observe(state, example, KEY)
        return state, state

    after = jax.lax.scan(learn, start, stream)[1]
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), start, after)


def at(tree, n):
    return jax.tree.map(lambda leaf: leaf[n], tree)


def flat(tree):
    return ravel_pytree(tree)[0]


@jax.jit
def gradients(model, memory, example):
    """Return the gradient on each task's memory and on the example, each by differentiating one loss after another."""

    def mean_loss(model, task):
        (x, y, _), held = ring(memory, task)
        losses = jax.vmap(lambda x, y: example_loss(model, x, y))(x, y)
        return jnp.mean(losses, where=held)

    past = [flat(jax.grad(mean_loss)(model, jnp.asarray(task))) for task in range(len(memory.seen))]
    return jnp.stack(past), flat(jax.grad(example_loss)(model, example.x, example.y))


def steps_along(learner, stream):
    """Yield for each example its task, the past tasks' gradients, its own, and the step taken over −α."""
    states = states_along(learner, network(), stream)
    for n, task in enumerate(np.asarray(stream.task)):
        before, after = at(states, n), at(states, n + 1)
        past, now = gradients(before.model, after.memory, at(stream, n))
        step = (flat(before.model) - flat(after.model)) / RATE
        yield int(task), np.asarray(past[:task]), np.asarray(now), np.asarray(step)


def test_gem_never_steps_against_a_past_task(x64):
    harmed = 0
    for task, past, now, step in steps_along(gem(), stream_of(3, 6)):
        noise = 1e-12 * max(1.0, np.linalg.norm(now))
        assert (past @ step >= -noise).all()
        if task and (past @ now < 0).any():
            harmed += 1
            assert not np.allclose(step, now)
        else:
            np.testing.assert_allclose(step, now, rtol=0, atol=1e-12)
    assert harmed >= 3, "the stream puts it to the test"


def test_a_margin_pulls_gem_towards_the_past_tasks(x64):
    """The step is g + Gᵀv with every v at least the margin."""
    margin, harmed = 0.7, 0
    for task, past, now, step in steps_along(gem(margin=margin), stream_of(3, 6)):
        if task and (past @ now < 0).any():
            v = np.linalg.lstsq(past.T, step - now, rcond=None)[0]
            np.testing.assert_allclose(past.T @ v, step - now, rtol=0, atol=1e-12)
            assert (v > margin - 1e-9).all()
            harmed += 1
    assert harmed >= 3


@pytest.mark.parametrize("learner", [gem(margin=1.0), agem()], ids=["gem", "a-gem"])
def test_the_first_task_is_learned_as_online(learner):
    stream = stream_of(1, 6)
    mine, plain = (states_along(it, network(), stream).model for it in (learner, Online(RATE)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6), mine, plain)


@pytest.mark.long
@pytest.mark.parametrize("seeds", [1, 3])
def test_gem_evaluates_only_the_memories_of_tasks_seen(seeds):
    """Side by side too, where all seeds are at the same task. A call of the loss is one for all seeds and memories."""
    n_tasks, evaluated = 6, []

    def counting(outputs, y):
        jax.debug.callback(lambda: evaluated.append(1))
        return cross_entropy(outputs, y)

    learner = gem(n_tasks, loss=counting)
    models = jax.vmap(lambda key: MLP(4, 3, (5,), key=key))(jax.random.split(KEY, seeds))
    stream = stream_of(n_tasks, 2)
    states = jax.vmap(lambda model: learner.init(model, at(stream, 0), KEY))(models)
    learn = jax.jit(jax.vmap(lambda state, example: learner.observe(state, example, KEY)[0], in_axes=(0, None)))
    for n, task in enumerate(np.asarray(stream.task)):
        evaluated.clear()
        states = learn(states, at(stream, n))
        jax.block_until_ready(states)
        jax.effects_barrier()
        assert len(evaluated) == 1 + task


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_gem_looks_at_no_memory_in_the_first_task(seeds):
    """Side by side too. Empty slots have label 0, which the stream does not have."""
    labels = []

    def telling(outputs, y):
        jax.debug.callback(lambda y: labels.extend(np.ravel(y).tolist()), y)
        return cross_entropy(outputs, y)

    learner, stream = agem(2, loss=telling), stream_of(2, 2)._replace(y=jnp.asarray([1, 1, 2, 2], jnp.int32))
    models = jax.vmap(lambda key: MLP(4, 3, (5,), key=key))(jax.random.split(KEY, seeds))
    states = jax.vmap(lambda model: learner.init(model, at(stream, 0), KEY))(models)
    learn = jax.jit(jax.vmap(lambda state, example: learner.observe(state, example, KEY)[0], in_axes=(0, None)))
    for n, expected in enumerate([{1}, {1}, {1, 2}, {1, 2}]):
        labels.clear()
        states = learn(states, at(stream, n))
        jax.block_until_ready(states)
        jax.effects_barrier()
        assert set(labels) == expected


def test_past_gradients_leave_later_rows_zero(x64):
    stream = stream_of(3, 6)
    last = at(states_along(gem(), network(), stream), -1)
    rows = past_gradients(last.model, last.memory, jnp.asarray(2, jnp.int32), 5, cross_entropy)
    expected, _ = gradients(last.model, last.memory, at(stream, 0))
    np.testing.assert_allclose(rows[:2], expected[:2], rtol=0, atol=1e-13)
    assert not rows[2:].any()


def test_a_task_shorter_than_its_ring_counts_with_what_it_has(x64):
    stream = stream_of(2, 3)
    learner = gem(2, slots=5)
    state = at(states_along(learner, network(), stream), 3)
    rows = past_gradients(state.model, state.memory, jnp.asarray(1, jnp.int32), 1, cross_entropy)
    each = [flat(example_gradient(state.model, stream.x[n], stream.y[n]).grads) for n in range(3)]
    np.testing.assert_allclose(rows[0], np.mean(each, axis=0), rtol=0, atol=1e-13)


def test_one_task_needs_no_past():
    state = at(states_along(gem(1), network(), stream_of(1, 3)), -1)
    assert state.memory.seen == 3


@pytest.mark.long
@pytest.mark.parametrize("learner", [gem(margin=0.5), agem()], ids=["gem", "a-gem"])
def test_seeds_side_by_side_equal_each_alone(learner, x64):
    """As a run has them: streams and keys a seed, one task number for all."""
    streams = [stream_of(3, 6, seed) for seed in range(3)]
    models = [network(seed) for seed in range(3)]
    keys = jax.random.split(KEY, 3)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *streams)._replace(task=streams[0].task)
    axes: Any = (0, 0, None)

    def learn(model, stream, key):
        start = learner.init(model, at(stream, 0), key)
        return jax.lax.scan(
            lambda state, step: (learner.observe(state, step[1], jax.random.fold_in(key, step[0]))[0], None),
            start,
            (jnp.arange(len(stream.y)), stream),
        )[0]

    together = jax.jit(jax.vmap(learn, in_axes=(0, Example(*axes), 0)))(
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *models), stacked, keys
    )
    for n in range(3):
        alone = jax.jit(learn)(models[n], streams[n], keys[n])
        jax.tree.map(lambda a, b, n=n: np.testing.assert_allclose(a[n], b, rtol=0, atol=1e-12), together, alone)


def softmax_regression():
    """Return a model of two inputs and outputs, p = (½, ½) everywhere: a gradient is ½ (∓x, ±x) by the label."""
    return eqx.tree_at(lambda it: (it.weight, it.bias), eqx.nn.Linear(2, 2, key=KEY), (jnp.zeros((2, 2)), jnp.zeros(2)))


def plain_example(x, y, task):
    return Example(jnp.asarray(x, float), jnp.asarray(y, jnp.int32), jnp.asarray(task, jnp.int32))


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        # g is ½ (−x, x) with bias ½ (−1, 1). g_ref, of x = (1, 0) and the other label, is ½ ((1, 0), (−1, 0)) with bias
        # ½ (1, −1). So g · g_ref = −½ (x₀ + 1) and |g_ref|² = 1: the step is along g + ½ (x₀ + 1) g_ref.
        ([3.0, 2.0], 0, ([[-0.5, -1.0], [0.5, 1.0]], [0.5, -0.5])),
        # x₀ = −3: the dot product is 1, and g stays.
        ([-3.0, 2.0], 0, ([[1.5, -1.0], [-1.5, 1.0]], [-0.5, 0.5])),
    ],
)
def test_a_gem_takes_the_component_along_the_reference_out(x, y, expected, x64):
    learner = agem(n_tasks=2, replay_batch_size=2, learning_rate=1.0)
    model = softmax_regression()
    state = learner.init(model, plain_example(x, y, 1), KEY)
    drawn = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), plain_example([1.0, 0.0], 1, 0))
    after, _ = learner.observe_with(state, plain_example(x, y, 1), drawn)
    np.testing.assert_allclose(after.model.weight, -np.asarray(expected[0]), rtol=0, atol=1e-12)
    np.testing.assert_allclose(after.model.bias, -np.asarray(expected[1]), rtol=0, atol=1e-12)


def test_a_gem_ignores_what_is_drawn_in_the_first_task(x64):
    learner = agem(n_tasks=2, replay_batch_size=1, learning_rate=1.0)
    now = plain_example([3.0, 2.0], 0, 0)
    state = learner.init(softmax_regression(), now, KEY)
    drawn = jax.tree.map(lambda leaf: leaf[None], plain_example([1.0, 0.0], 1, 0))
    after, _ = learner.observe_with(state, now, drawn)
    np.testing.assert_allclose(after.model.weight, [[1.5, 1.0], [-1.5, -1.0]], rtol=0, atol=1e-12)


def test_a_gem_draws_what_earlier_rings_held_before_the_example():
    """With one example a past task and a slot for it, the step is the one with that example drawn."""
    learner = agem(n_tasks=2, slots=1, replay_batch_size=3)
    stream = stream_of(2, 1)
    before = at(states_along(learner, network(), stream), 1)
    drawn = jax.tree.map(lambda leaf: jnp.stack([leaf[0]] * 3), stream)
    expected, _ = jax.jit(learner.observe_with)(before, at(stream, 1), drawn)
    now = observe(learner, before, at(stream, 1))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6), now, expected)


@pytest.mark.parametrize("make", [gem, agem], ids=["gem", "a-gem"])
def test_the_memory_is_divided_equally_among_the_tasks(make):
    state = make(3, memory_size=14).init(network(), at(stream_of(1, 1), 0), KEY)
    assert isinstance(state, GEMState)
    assert state.memory.examples.x.shape == (3, 4, 4)


@pytest.mark.parametrize("make", [gem, agem], ids=["gem", "a-gem"])
def test_fewer_memories_than_tasks_are_refused(make):
    with pytest.raises(ValueError, match=r"memory_size = 2 for 3 tasks.*at least 3"):
        make(3, memory_size=2).init(network(), at(stream_of(1, 1), 0), KEY)


@pytest.mark.parametrize("make", [gem, agem], ids=["gem", "a-gem"])
def test_without_stream_info_it_says_what_to_do(make):
    with pytest.raises(ValueError, match=r"does not know its stream.*stream_info=perdure\.learn.StreamInfo"):
        make(stream_info=None).init(network(), at(stream_of(1, 1), 0), KEY)
