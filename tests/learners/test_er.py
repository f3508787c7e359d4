from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.core import Example
from perdure.learners.er import ER, ERAlgorithm5, task_weights
from perdure.learners.replay import Batch, Draws, ReplayState
from perdure.memory.buffer import Buffer
from perdure.models import MLP, BatchModel, Statistics
from perdure.updates.gradient import example_loss, init_train_state
from perdure.updates.weights import equal_weights

REPLAY = {"learning_rate": 0.2, "memory_size": 6, "replay_batch_size": 4}


def batch_of(tasks, mask):
    tasks, mask = jnp.asarray(tasks, jnp.int32), jnp.asarray(mask, bool)
    return Batch(Example(jnp.zeros((len(tasks), 1)), tasks, tasks), mask, jnp.arange(len(tasks)) == 0)


def example(n, task):
    x = np.random.default_rng(n).normal(size=3)
    return Example(x, np.asarray(n % 4, np.int32), np.asarray(task, np.int32))


@functools.cache
def network():
    return MLP(3, 4, (5, 4), key=jax.random.key(0))


def state_of(examples):
    """Return a state whose memory of six holds these examples."""
    empty = [jax.tree.map(np.zeros_like, example(0, 0))] * (6 - len(examples))
    seen, periods = (jnp.asarray(count, jnp.int32) for count in (len(examples), 0))
    memory = Buffer(jax.tree.map(stack, *examples, *empty), seen, periods)
    return ReplayState(*init_train_state(network(), optax.sgd(0.2)), memory)


def stack(*leaves):
    return jnp.asarray(np.stack(leaves))


@jax.jit
def observe_with(learner, state, example, draws):
    return learner.observe_with(state, example, draws)[0]


@jax.jit
def slope_on(model, example):
    return jax.grad(example_loss)(model, example.x, example.y)


def draws(slots):
    slots = jnp.asarray([slots], jnp.int32)
    return Draws(slots, jnp.asarray(0, jnp.int32), jnp.asarray(99, jnp.int32))


def assert_stepped(before, after, examples, weights):
    """Assert one SGD step on Σ weight · loss, from one gradient an example."""
    expected = before
    for it, weight in zip(examples, weights, strict=True):
        grads = slope_on(before, it)
        expected = jax.tree.map(
            lambda old, part, w=weight: np.asarray(old) - 0.2 * w * np.asarray(part), expected, grads
        )
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14), after, expected)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ([True, True, True, True], [0.25, 0.25, 0.25, 0.25]),
        ([True, True, False, False], [0.5, 0.5, 0, 0]),
        ([True, False, False, False], [1, 0, 0, 0]),
    ],
)
def test_mean_weights_share_among_those_that_count(mask, expected):
    np.testing.assert_array_equal(equal_weights(batch_of([0, 1, 1, 2], mask).mask), np.float32(expected))


@pytest.mark.parametrize(
    ("tasks", "mask", "expected"),
    [
        ([3, 3, 3, 3], [True] * 4, [0.25] * 4),
        ([2, 0, 1, 3], [True] * 4, [1] * 4),
        ([2, 0, 0, 2, 0], [True] * 5, [1 / 2, 1 / 3, 1 / 3, 1 / 2, 1 / 3]),
        ([2, 0, 0, 0], [True, True, True, False], [1, 1 / 2, 1 / 2, 0]),
        ([2, 2, 0, 0], [True, True, False, False], [1 / 2, 1 / 2, 0, 0]),
        ([2, 0, 0, 0], [True, False, False, False], [1, 0, 0, 0]),
        ([0, 0, 0, 0], [True, False, False, False], [1, 0, 0, 0]),
    ],
)
def test_task_weights_make_every_task_that_is_present_count_once(tasks, mask, expected):
    np.testing.assert_array_equal(task_weights(batch_of(tasks, mask)), np.float32(expected))


class Averaging(BatchModel):
    """Centres inputs by the mean of their batch, then is linear in them; `seen` tells what that mean was last."""

    weight: jax.Array
    seen: Statistics

    def __call__(self, x):
        return self.weight @ (x - self.seen.mean)

    def in_training(self, x, mask=None):
        mean = x.mean(axis=0, where=None if mask is None else mask[:, None])
        return (x - mean[None]) @ self.weight.T, Averaging(self.weight, Statistics(mean, self.seen.variance))


@pytest.mark.parametrize("cls", [ER, ERAlgorithm5])
def test_absent_memories_do_not_enter_the_statistics_of_a_batch(cls, x64):
    model = Averaging(jnp.eye(4, 3), Statistics(jnp.zeros(3), jnp.ones(3)))
    arriving, memories = example(9, 1), [example(0, 0)]
    state = state_of(memories)._replace(model=model, optimizer=init_train_state(model, optax.sgd(0.2)).optimizer)
    after = observe_with(cls(**REPLAY), state, arriving, draws([0, 3, 4, 5]))
    # One memory is held, so that one draw of four mask.
    np.testing.assert_allclose(after.model.seen.mean, (arriving.x + memories[0].x) / 2, rtol=1e-12)
    full = state_of([example(n, 0) for n in range(6)])._replace(model=model, optimizer=state.optimizer)
    after = observe_with(cls(**REPLAY), full, arriving, draws([0, 3, 4, 5]))
    drawn = [arriving.x, *(example(n, 0).x for n in (0, 3, 4, 5))]
    np.testing.assert_allclose(after.model.seen.mean, np.mean(drawn, axis=0), rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(tasks=st.lists(st.integers(0, 4), min_size=6, max_size=6), held=st.integers(0, 5))
def test_weights_add_up_to_one_a_mean(tasks, held):
    batch = batch_of(tasks, np.arange(6) <= held)
    present = tasks[: held + 1]
    assert float(equal_weights(batch.mask).sum()) == pytest.approx(1)
    weights = np.asarray(task_weights(batch))
    assert weights[held + 1 :].sum() == 0
    for task in set(present):
        mine = weights[: held + 1][np.asarray(present) == task]
        np.testing.assert_allclose(mine, 1 / len(mine), rtol=1e-6)


@pytest.mark.parametrize(
    ("learner", "weights"),
    [
        # Arriving: task 2. Drawn: slots 0, 3, 3, 2, of tasks 0, 2, 2, 1.
        (ER(**REPLAY), [1 / 5, 1 / 5, 1 / 5, 1 / 5, 1 / 5]),
        (ERAlgorithm5(**REPLAY), [1 / 3, 1, 1 / 3, 1 / 3, 1]),
    ],
)
def test_one_step_on_the_weighted_sum_of_the_gradients(learner, weights, x64):
    memories = [example(n, task) for n, task in enumerate([0, 0, 1, 2, 2, 2])]
    arriving, slots = example(9, 2), [0, 3, 3, 2]
    state = state_of(memories)
    after = observe_with(learner, state, arriving, draws(slots))
    assert_stepped(state.model, after.model, [arriving, *(memories[slot] for slot in slots)], weights)


@pytest.mark.parametrize(
    ("learner", "weights"),
    [(ER(**REPLAY), [1 / 3, 1 / 3, 1 / 3]), (ERAlgorithm5(**REPLAY), [1, 1 / 2, 1 / 2])],
)
def test_only_as_many_memories_as_there_are_take_part(learner, weights, x64):
    memories = [example(n, 0) for n in range(2)]
    arriving = example(9, 1)
    state = state_of(memories)
    after = observe_with(learner, state, arriving, draws([1, 1, 0, 1]))
    assert_stepped(state.model, after.model, [arriving, memories[1], memories[1]], weights)


@pytest.mark.parametrize("learner", [ER(**REPLAY), ERAlgorithm5(**REPLAY)])
def test_the_first_example_is_learnt_alone(learner, x64):
    state, arriving = state_of([]), example(9, 1)
    after, _ = jax.jit(lambda *arguments: learner.observe(*arguments))(state, arriving, jax.random.key(0))
    assert_stepped(state.model, after.model, [arriving], [1])
    np.testing.assert_array_equal(after.memory.examples.x[0], arriving.x)
