"""Learning without forgetting: its step by hand, its teacher, its limits."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import rel_entr, softmax

from perdure.core import StreamInfo
from perdure.learners.lwf import LwF
from perdure.learners.online import Online
from perdure.updates.gradient import predict_batch, sgd_step
from perdure.updates.losses import cross_entropy
from tests.conftest import first_short
from tests.learners.small_stream import assert_close, batch_of, example, learned, observe

SHARED = StreamInfo(4, 3, (3, 3, 3))
SPLIT = SHARED._replace(class_tasks=(0, 1, 0, 2))


def lwf(strength=0.7, stream_info=SHARED):
    return LwF(0.1, strength, stream_info=stream_info)


def tempered(logits):
    return np.asarray(jax.nn.softmax(logits / 2))


def test_the_teacher_is_the_network_as_it_was_when_the_last_task_ended():
    of_first, of_second = (learned(lwf(), n, task_length=3).model for n in (3, 6))
    for n, expected in [(4, of_first), (6, of_first), (7, of_second), (8, of_second)]:
        state = learned(lwf(), n, task_length=3)
        assert_close(state.teacher, expected)
        np.testing.assert_array_equal(state.past, [True, n > 6, False])


@pytest.mark.parametrize("n", first_short([1, 2]))
def test_the_step_is_down_the_loss_and_the_divergence_from_the_teacher(n):
    learner = lwf()
    state = learned(learner, 5, task_length=3)
    batch = batch_of(*(example(10 + it, task=1) for it in range(n)))
    after, total = jax.jit(learner.update)(state, batch)
    targets = tempered(predict_batch(state.teacher, batch.x))

    def loss(model):
        logits = predict_batch(model, batch.x)
        divergence = jnp.sum(targets * (jnp.log(targets) - jax.nn.log_softmax(logits / 2)), axis=1)
        return jnp.mean(cross_entropy(logits, batch.y) + 0.7 * divergence)

    expected, grads = jax.jit(jax.value_and_grad(loss))(state.model)
    assert_close(after.model, sgd_step(state.model, grads, 0.1))
    assert_close(total, expected, atol=1e-6)
    assert total > cross_entropy(predict_batch(state.model, batch.x), batch.y).mean() + 1e-4


def test_classes_of_past_tasks_are_answered_among_themselves():
    logits, before = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    found = lwf(stream_info=SPLIT).change(jnp.asarray(logits), jnp.asarray(before), jnp.asarray([True, True, False]))
    own = [softmax(it[[0, 2]] / 2) for it in (before, logits)]
    assert float(found) == pytest.approx(rel_entr(*own).sum(), rel=1e-5)  # one class alone has nothing to change


def test_a_task_that_comes_again_is_not_held_to_its_own_past():
    """Only classes of the other task are distilled, which here is one class alone."""
    split = SHARED._replace(class_tasks=(0, 1, 0, 0))
    after = []
    for strength in (0.7, 0.0):
        state = learned(lwf(0.0, split), 6, task_length=3)
        for n in (9, 10):
            state, _ = observe(lwf(strength, split), state, example(n, task=0), jax.random.key(0))
        after.append(state.model)
    assert_close(*after)


@pytest.mark.parametrize("stream_info", [SHARED, SPLIT], ids=["shared", "split"])
def test_without_strength_it_is_online_learning(stream_info):
    assert_close(learned(lwf(0.0, stream_info), task_length=3).model, learned(Online(0.1)).model)


def test_in_the_first_task_strength_does_not_matter():
    assert_close(learned(lwf(5.0), 5).model, learned(lwf(0.0), 5).model)
