"""Synaptic intelligence where its path integral has a closed form, and in limits."""

from __future__ import annotations

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from perdure.core import Example
from perdure.learners.online import Online
from perdure.learners.si import SI
from perdure.updates.gradient import example_gradient
from tests.learners.small_stream import KEY, example, learned, observe

CURVATURE = np.asarray([0.5, 1.0, 3.0])
START, TARGETS = np.asarray([1.0, -2.0, 0.5]), np.asarray([[0.0, 0.0, 1.0], [2.0, -1.0, 0.0]])
RATE, STEPS, DAMPING, STRENGTH = 0.1, 6, 0.05, 0.3


class Point(eqx.Module):
    """A network whose outputs are its weights, whatever the input."""

    weights: jax.Array

    def __call__(self, x):
        return self.weights


def quadratic(outputs, y):
    """A loss of which each weight has its own curvature."""
    return jnp.sum(jnp.asarray(CURVATURE) * (outputs - y) ** 2) / 2


def descended(tasks, **changes):
    """Return the states of SI before the first step and after each, on the targets of these tasks."""
    learner = SI(**{"learning_rate": RATE, "strength": STRENGTH, "damping": DAMPING, "loss": quadratic, **changes})
    examples = [Example(jnp.zeros(1), jnp.asarray(TARGETS[task]), jnp.asarray(task, jnp.int32)) for task in tasks]
    states = [learner.init(Point(jnp.asarray(START)), examples[0], KEY)]
    for arriving in examples:
        states.append(observe(learner, states[-1], arriving, KEY)[0])
    return states


@functools.cache
def two_tasks():
    return descended([0] * STEPS + [1] * STEPS)


def closed_form(error):
    """Return Σ g · (minus the step) over the steps down a quadratic from this error, and the error after them.

    Each step multiplies the error e by 1 − rate · a and adds rate · (a e)²: a geometric series.
    """
    factor = 1 - RATE * CURVATURE
    path = RATE * CURVATURE**2 * error**2 * (1 - factor ** (2 * STEPS)) / (1 - factor**2)
    return path, error * factor**STEPS


def test_the_path_integral_of_a_quadratic_is_the_closed_form(x64):
    path, error = closed_form(START - TARGETS[0])
    ended = two_tasks()[STEPS]
    np.testing.assert_allclose(ended.path.weights, path, rtol=1e-12)
    np.testing.assert_allclose(ended.model.weights, TARGETS[0] + error, rtol=1e-12)


def test_at_a_tasks_end_the_importance_is_the_path_integral_by_the_squared_distance(x64):
    path, error = closed_form(START - TARGETS[0])
    distance = TARGETS[0] + error - START
    began = two_tasks()[STEPS + 1]
    np.testing.assert_allclose(began.importance.weights, path / (distance**2 + DAMPING), rtol=1e-12)
    np.testing.assert_array_equal(began.anchor.weights, two_tasks()[STEPS].model.weights)


def test_small_steps_share_out_by_how_much_the_loss_has_fallen(x64):
    """With small steps the path integral is the fall of each weight's part of the loss."""
    path = descended([0] * 400, learning_rate=1e-3)[-1]
    fall = CURVATURE / 2 * ((START - TARGETS[0]) ** 2 - (path.model.weights - TARGETS[0]) ** 2)
    np.testing.assert_allclose(path.path.weights, fall, rtol=2e-3)


def test_steps_after_a_task_are_down_the_loss_and_the_penalty(x64):
    """The path integral takes the loss's own gradient, and the distance that the penalty has changed."""
    states = two_tasks()
    for before, after in zip(states[STEPS + 1 :], states[STEPS + 2 :], strict=False):
        weights = before.model.weights
        of_loss = CURVATURE * (weights - TARGETS[1])
        of_penalty = 2 * STRENGTH * before.importance.weights * (weights - before.anchor.weights)
        step = -RATE * (of_loss + of_penalty)
        np.testing.assert_allclose(after.model.weights - weights, step, rtol=1e-9)
        np.testing.assert_allclose(after.path.weights - before.path.weights, -of_loss * step, rtol=1e-9)
        assert np.abs(of_penalty).min() > 1e-3


def test_importance_does_not_fall_below_zero(x64):
    """A weight that has mostly moved up the loss, against which the penalty drew it, has a negative path integral."""
    began = two_tasks()[STEPS + 1]
    path = Point(jnp.asarray([-9.0, -1e-3, 1.0]))
    found = SI(RATE, STRENGTH, DAMPING).importance(began._replace(path=path)).weights
    square = (began.model.weights - began.anchor.weights) ** 2 + DAMPING
    expected = began.importance.weights + path.weights / square
    np.testing.assert_allclose(found, np.maximum(expected, 0), rtol=1e-12)
    assert (expected < 0).tolist() == [True, False, False]


def test_without_strength_it_is_online_learning():
    mine, plain = learned(SI(0.1, 0.0, 0.1), task_length=3), learned(Online(0.1), task_length=3)
    np.testing.assert_allclose(*(ravel_pytree(it.model)[0] for it in (mine, plain)), rtol=1e-6)
    assert ravel_pytree(mine.importance)[0].any()


def test_in_the_first_task_strength_does_not_matter():
    weak, strong = (ravel_pytree(learned(SI(0.1, it, 0.1)).model)[0] for it in (0.0, 100.0))
    np.testing.assert_array_equal(weak, strong)


@pytest.mark.long
def test_with_another_optimizer_the_distance_is_that_of_its_steps():
    learner = SI(0.1, 1.0, 0.1, optimizer=optax.adam)
    before = learned(learner, 3)
    after, _ = observe(learner, before, example(3), KEY)
    grads = example_gradient(before.model, *example(3)[:2]).grads
    added = jax.tree.map(lambda new, old: new - old, after.path, before.path)
    expected = jax.tree.map(lambda g, new, old: -g * (new - old), grads, after.model, before.model)
    np.testing.assert_allclose(*(ravel_pytree(it)[0] for it in (added, expected)), rtol=1e-4, atol=1e-6)
