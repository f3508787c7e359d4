from __future__ import annotations

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import Example, StreamInfo
from perdure.learners.independent import Independent, network
from perdure.learners.online import Online, OnlineState
from perdure.models import MLP
from perdure.updates.gradient import predict_batch
from tests.conftest import first_short

pytestmark = pytest.mark.optimized

STREAM_INFO = StreamInfo(n_outputs=3, n_tasks=3, task_sizes=(4, 4, 4))
KEY = jax.random.key(0)


def wide():
    return MLP(2, 3, (10, 7), key=KEY)


def example(n, task):
    x = np.random.default_rng(n).normal(size=2).astype(np.float32)
    return Example(x, np.asarray(n % 3, np.int32), np.asarray(task, np.int32))


def start_of(learner):
    return learner.init(wide(), example(0, 0), KEY)


@functools.partial(jax.jit, static_argnums=0)
def observe(learner, state, example):
    return learner.observe(state, example, KEY)[0]


def after(learner, state, tasks):
    for n, task in enumerate(tasks):
        state = observe(learner, state, example(n, task))
    return state


def of_task(state, task):
    return jax.tree.map(lambda leaf: leaf[task], state.model)


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def assert_differ(one, other):
    assert any((a != b).any() for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


@pytest.mark.long
def test_each_task_has_a_fresh_network_with_its_share_of_the_units():
    state = start_of(Independent(0.1, stream_info=STREAM_INFO))
    shapes = [(leaf.weight.shape, leaf.bias.shape) for leaf in state.model.layers]
    assert shapes == [((3, 3, 2), (3, 3)), ((3, 2, 3), (3, 2)), ((3, 3, 2), (3, 3))]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert_differ(of_task(state, one), of_task(state, other))
    assert state.task == -1


@pytest.mark.parametrize("from_previous", first_short([True, False]))
def test_the_networks_of_other_tasks_are_left_alone(from_previous):
    learner = Independent(0.1, from_previous=from_previous, stream_info=STREAM_INFO)
    before = after(learner, start_of(learner), [0, 0, 1])
    now = observe(learner, before, example(7, 1))
    assert_differ(of_task(now, 1), of_task(before, 1))
    for task in (0, 2):
        assert_same(of_task(now, task), of_task(before, task))


@pytest.mark.parametrize(("from_previous", "origin"), [(True, 0), (False, 2)])
def test_a_task_begins_with_the_previous_tasks_weights_or_its_own(from_previous, origin):
    learner = Independent(0.1, from_previous=from_previous, stream_info=STREAM_INFO)
    before = after(learner, start_of(learner), [0, 0])
    now = observe(learner, before, example(7, 2))
    online = Online(0.1)
    alone = OnlineState(network(before.model, jnp.asarray(origin)), online.init(wide(), example(0, 0), KEY).optimizer)
    assert_same(of_task(now, 2), observe(online, alone, example(7, 2)).model)


def test_the_first_task_begins_with_its_own_weights():
    learned = [
        after(it, start_of(it), [1])
        for it in (
            Independent(0.1, from_previous=True, stream_info=STREAM_INFO),
            Independent(0.1, from_previous=False, stream_info=STREAM_INFO),
        )
    ]
    assert_same(learned[0].model, learned[1].model)


def test_predictions_come_from_the_network_of_each_inputs_task():
    learner = Independent(0.1, stream_info=STREAM_INFO)
    state = after(learner, start_of(learner), [0, 1, 2])
    x = np.random.default_rng(9).normal(size=(6, 2)).astype(np.float32)
    task = np.asarray([2, 0, 1, 1, 0, 2])
    outputs = learner.predict(state, x, task)
    for n in range(6):
        np.testing.assert_allclose(outputs[n], predict_batch(of_task(state, task[n]), x[n : n + 1])[0], rtol=1e-6)


def test_a_network_that_cannot_be_narrowed_is_refused():
    with pytest.raises(TypeError, match=r"Linear does not let it.*narrowed\(n, key\)"):
        Independent(0.1, stream_info=STREAM_INFO).init(eqx.nn.Linear(2, 3, key=KEY), example(0, 0), KEY)


def test_without_stream_info_it_says_what_to_do():
    with pytest.raises(
        ValueError, match=r"Independent does not know its stream.*stream_info=perdure\.learn\.StreamInfo"
    ):
        start_of(Independent(0.1))


def test_a_task_that_comes_again_goes_on_with_its_own_network():
    learner = Independent(learning_rate=0.1, stream_info=STREAM_INFO)
    before = after(learner, start_of(learner), [0, 0, 1])
    again = observe(learner, before, example(7, 0))
    online = Online(learning_rate=0.1)
    expected, _ = online.observe(online.init(of_task(before, 0), example(7, 0), KEY), example(7, 0), KEY)
    for one, other in zip(jax.tree.leaves(of_task(again, 0)), jax.tree.leaves(expected.model), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
