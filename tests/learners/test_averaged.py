"""Experience replay with averaged weights: its limits, and its average by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import Example
from perdure.learners.averaged import AveragedER
from perdure.learners.er import ER
from perdure.metrics.alignment import gradient_alignment
from perdure.models import MLP
from perdure.updates.losses import cross_entropy
from tests.conftest import first_short

REPLAY = {"learning_rate": 0.2, "memory_size": 4, "replay_batch_size": 2}
KEY = jax.random.key(0)
NETWORK = MLP(3, 4, (5,), key=KEY)
STREAM = Example(
    np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32),
    np.arange(8, dtype=np.int32) % 4,
    np.zeros(8, np.int32),
)


def at(n):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[n]), STREAM)


def learn(learner):
    """Return the states and what was reported after each example."""

    def step(state, numbered):
        n, example = numbered
        after, info = learner.observe(state, example, jax.random.key(n))
        return after, (after, info)

    state = learner.init(NETWORK, at(0), KEY)
    return jax.jit(lambda: jax.lax.scan(step, state, (jnp.arange(8), STREAM))[1])()


def assert_close(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), one, other)


@pytest.mark.parametrize("decay", first_short([0.5, 0.0, 0.9, 1.0]))
def test_the_average_is_that_of_the_weights_of_experience_replay(decay):
    learner = AveragedER(**REPLAY, decay=decay)
    states, infos = learn(learner)
    plain, plain_infos = learn(ER(**REPLAY))
    assert_close(states.learning.model, plain.model)
    assert_close(infos.extra["learning_loss"], plain_infos.loss)
    average = NETWORK
    for n in range(8):
        x, y, _ = at(n)
        assert_close(infos.outputs[n], average(x))
        assert_close(infos.loss[n], cross_entropy(average(x), y))
        now = jax.tree.map(lambda leaf, n=n: leaf[n], plain.model)
        average = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, average, now)
        assert_close(jax.tree.map(lambda leaf, n=n: leaf[n], states.average), average)


def test_gradient_alignment_is_that_of_the_average():
    averaged, plain = AveragedER(**REPLAY, decay=0.9), ER(**REPLAY)
    state = jax.tree.map(lambda leaf: leaf[-1], learn(averaged)[0])
    of_average = plain.init(state.average, at(0), KEY)
    found = [gradient_alignment(averaged, state, at(0), at(5)), gradient_alignment(plain, of_average, at(0), at(5))]
    assert found[0] == pytest.approx(float(found[1]), rel=1e-5)
    assert found[0] != pytest.approx(float(gradient_alignment(plain, state.learning, at(0), at(5))), rel=1e-2)


@pytest.mark.parametrize("decay", [-0.1, 1.01])
def test_the_decay_is_a_part(decay):
    with pytest.raises(ValueError, match=rf"^decay = {decay}, expected a number from 0 to 1$"):
        AveragedER(**REPLAY, decay=decay)
