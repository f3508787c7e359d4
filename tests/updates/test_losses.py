from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax

from perdure.updates.losses import CrossEntropyWithinTask, cross_entropy, mean_squared_error, within_task

CLASS_TASKS = (0, 1, 0, 2, 1)

within_own_task = jax.jit(jax.value_and_grad(CrossEntropyWithinTask(CLASS_TASKS)))
among_all = jax.jit(jax.value_and_grad(cross_entropy))


def label(y):
    return jnp.asarray(y, jnp.int32)


@settings(max_examples=50, deadline=None)
@given(logits=arrays(np.float32, (6, 5), elements=st.floats(-1e4, 1e4, width=32)))
def test_cross_entropy_is_minus_log_softmax(logits):
    y = jnp.asarray([0, 1, 2, 3, 4, 2], jnp.int32)
    expected = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(6), y]
    # The loss is a difference of numbers as large as the logits, and rounded as they are.
    rounding = 1e-6 * max(1, float(np.abs(logits).max()))
    np.testing.assert_allclose(cross_entropy(jnp.asarray(logits), y), expected, rtol=1e-6, atol=rounding)


def test_cross_entropy_of_a_guess_among_n_is_log_n():
    assert cross_entropy(jnp.zeros(10), label(3)) == pytest.approx(np.log(10))


def test_mean_squared_error_by_hand():
    values = jnp.asarray([[1.0, 2.0], [0.5, -0.5]])
    targets = jnp.asarray([[0.0, 4.0], [0.5, 0.5]])
    np.testing.assert_array_equal(mean_squared_error(values, targets), [2.5, 0.5])
    assert mean_squared_error(values[0], targets[0]) == 2.5
    np.testing.assert_array_equal(jax.grad(mean_squared_error)(values[0], targets[0]), [1.0, -2.0])


@settings(max_examples=50, deadline=None)
@given(logits=arrays(np.float64, 5, elements=st.floats(-100, 100)), y=st.integers(0, 4))
def test_within_its_task_a_label_competes_with_the_tasks_own_classes_alone(logits, y):
    own = [n for n in range(5) if CLASS_TASKS[n] == CLASS_TASKS[y]]
    with jax.enable_x64(True):
        loss, grads = within_own_task(jnp.asarray(logits), label(y))
        alone = among_all(jnp.asarray(logits[own]), label(own.index(y)))
    np.testing.assert_allclose(loss, alone[0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(grads[np.asarray(own)], alone[1], rtol=1e-12, atol=1e-12)
    assert not np.delete(grads, own).any(), "classes of other tasks are neither raised nor lowered"


def test_the_only_class_of_its_task_is_certain():
    assert CrossEntropyWithinTask(CLASS_TASKS)(jnp.zeros(5), label(3)) == 0


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("y", [np.asarray(2, np.int64), np.asarray(2, np.int32), np.asarray(2, np.uint8)])
def test_labels_of_any_integer_type_will_do(x64, y):
    with jax.enable_x64(x64):
        loss = CrossEntropyWithinTask(CLASS_TASKS)(jnp.zeros(5), y)
    assert loss == pytest.approx(np.log(2), rel=1e-6)


def test_a_loss_may_be_traced_and_batched():
    labels, logits = jnp.arange(5, dtype=jnp.int32), jnp.zeros((5, 5))
    losses = jax.jit(jax.vmap(CrossEntropyWithinTask(CLASS_TASKS)))(logits, labels)
    np.testing.assert_allclose(losses, np.log([2, 2, 2, 1, 2]), rtol=1e-6, atol=1e-7)


def test_losses_of_the_same_tasks_are_one():
    """A run's program is compiled anew for every loss that is another."""
    assert CrossEntropyWithinTask((0, 1)) == CrossEntropyWithinTask((0, 1))
    assert hash(CrossEntropyWithinTask((0, 1))) == hash(CrossEntropyWithinTask((0, 1)))
    assert CrossEntropyWithinTask((0, 1)) != CrossEntropyWithinTask((1, 0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_masked_logits_never_win(dtype, x64):
    logits = jnp.asarray([[-9.0, 9, -8, 7, 8], [1, 2, 3, 4, 5]], dtype)
    for task, expected in enumerate(([2, 2], [1, 4], [3, 3])):
        masked = within_task(logits, CLASS_TASKS, jnp.asarray(task, jnp.int32))
        assert masked.dtype == dtype
        np.testing.assert_array_equal(masked.argmax(axis=1), expected)
        own = np.asarray(CLASS_TASKS) == task
        np.testing.assert_array_equal(masked[:, own], logits[:, own])
