import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import rel_entr, softmax

from perdure.updates.distillation import distillation, distillation_within_tasks
from perdure.updates.losses import within_task

pytestmark = pytest.mark.usefixtures("x64")


def test_is_the_divergence_of_what_is_answered_from_what_was():
    logits, before = np.random.default_rng(0).normal(size=(2, 5))
    expected = rel_entr(softmax(before), softmax(logits)).sum()
    np.testing.assert_allclose(distillation(jnp.asarray(logits), jnp.asarray(before)), expected, rtol=1e-12)


def test_vanishes_with_its_gradient_where_nothing_has_changed():
    before = jnp.asarray([0.3, -2.0, 5.0])
    divergence, grads = jax.value_and_grad(distillation)(before + 7, before)
    np.testing.assert_allclose(divergence, 0, atol=1e-15)
    np.testing.assert_allclose(grads, 0, atol=1e-15)


def test_outputs_of_other_tasks_do_not_matter():
    logits, before = jnp.asarray(np.random.default_rng(1).normal(size=(2, 4)))
    masked = [within_task(it, (0, 1, 0, 1), jnp.asarray(1)) for it in (logits, before)]
    own = jnp.asarray([1, 3])
    np.testing.assert_allclose(distillation(*masked), distillation(logits[own], before[own]), rtol=1e-12)
    grads = jax.grad(lambda it: distillation(within_task(it, (0, 1, 0, 1), jnp.asarray(1)), masked[1]))(logits)
    np.testing.assert_array_equal(grads[jnp.asarray([0, 2])], 0)


def test_within_tasks_it_is_the_sum_over_those_that_count():
    logits, before = jnp.asarray(np.random.default_rng(2).normal(size=(2, 6)))
    class_tasks, counts = (0, 1, 2, 0, 1, 2), jnp.asarray([True, False, True])
    expected = sum(distillation(logits[own], before[own]) for own in jnp.asarray([[0, 3], [2, 5]]))
    found, grads = jax.value_and_grad(distillation_within_tasks)(logits, before, class_tasks, counts)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_array_equal(grads[jnp.asarray([1, 4])], 0)
