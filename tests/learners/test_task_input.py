from __future__ import annotations

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import Example, StreamInfo
from perdure.learners.online import Online, OnlineState
from perdure.learners.task_input import TaskInput
from perdure.models import MLP
from perdure.updates.gradient import predict_batch

N_TASKS = 3
STREAM_INFO = StreamInfo(n_outputs=3, n_tasks=N_TASKS, task_sizes=(4,) * N_TASKS)
KEY = jax.random.key(0)
LEARNER = TaskInput(0.1, stream_info=STREAM_INFO)


def example(n, task):
    x = np.random.default_rng(n).normal(size=5).astype(np.float32)
    return Example(x, np.asarray(n % 3, np.int32), np.asarray(task, np.int32))


def start_of(hidden=(4,), in_size=5):
    return LEARNER.init(MLP(in_size, 3, hidden, key=KEY), example(0, 0), KEY)


@functools.partial(jax.jit, static_argnums=0)
def observe(learner, state, example):
    return learner.observe(state, example, KEY)[0]


def of_task(state, task):
    return state.model.of_task(jnp.asarray(task))


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("hidden", [(4,), (4, 6, 2)])
def test_only_the_tasks_own_first_layer_and_the_shared_ones_move(hidden):
    before = start_of(hidden)
    now = observe(LEARNER, before, example(7, 1))
    for old, new in zip(jax.tree.leaves(before.model.first), jax.tree.leaves(now.model.first), strict=True):
        moved = (old != new).reshape(N_TASKS, -1).any(axis=1)
        np.testing.assert_array_equal(moved, [False, True, False])
    for old, new in zip(jax.tree.leaves(before.model.upper), jax.tree.leaves(now.model.upper), strict=True):
        assert (old != new).any()


@pytest.mark.parametrize("task", range(N_TASKS))
def test_what_a_task_sees_takes_a_step_of_online_learning(task):
    before = start_of((4, 6))
    now = observe(LEARNER, before, example(7, task))
    online = Online(0.1)
    perceptron = of_task(before, task)
    alone = OnlineState(perceptron, online.init(perceptron, example(0, 0), KEY).optimizer)
    assert_same(of_task(now, task), observe(online, alone, example(7, task)).model)


def test_layers_have_the_sizes_of_the_model_and_no_first_layer_is_anothers():
    state = start_of((4, 6))
    assert [layer.weight.shape for layer in of_task(state, 0).layers] == [(4, 5), (6, 4), (3, 6)]
    assert state.model.upper.layers[0] is None
    first = state.model.first.weight
    assert first.shape == (N_TASKS, 4, 5)
    assert len(np.unique(first)) == first.size


def test_layers_start_uniform_within_one_over_the_root_of_the_fan_in_and_biases_at_zero():
    state = start_of((300, 200), in_size=400)
    for layer in (state.model.first, *state.model.upper.layers[1:]):
        bound = layer.weight.shape[-1] ** -0.5
        largest = float(jnp.abs(layer.weight).max())
        assert 0.99 * bound < largest <= bound
        # A uniform distribution on ±b has variance b² / 3; the shared output layer has the fewest weights, 600.
        assert float(layer.weight.var()) == pytest.approx(bound**2 / 3, rel=0.1)
        assert not np.any(layer.bias)


def test_predictions_go_through_the_first_layer_of_each_inputs_task():
    state = observe(LEARNER, start_of(), example(7, 1))
    x = np.random.default_rng(9).normal(size=(5, 5)).astype(np.float32)
    task = np.asarray([2, 0, 1, 1, 0])
    outputs = LEARNER.predict(state, x, task)
    for n in range(5):
        np.testing.assert_allclose(outputs[n], predict_batch(of_task(state, task[n]), x[n : n + 1])[0], rtol=1e-5)


def test_another_network_is_refused():
    with pytest.raises(TypeError, match="needs a perdure MLP; got a Linear"):
        LEARNER.init(eqx.nn.Linear(5, 3, key=KEY), example(0, 0), KEY)


def test_without_stream_info_it_says_what_to_do():
    with pytest.raises(ValueError, match=r"TaskInput does not know its stream.*stream_info=perdure\.learn\.StreamInfo"):
        TaskInput(0.1).init(MLP(5, 3, (4,), key=KEY), example(0, 0), KEY)
