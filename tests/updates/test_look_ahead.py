"""Looking ahead: the forms agree, and the gradients are those of the losses."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.models import MLP
from perdure.updates.gradient import weighted_loss
from perdure.updates.look_ahead import InnerSteps, OuterBatch, clipped_to_norm, look_ahead, rated_step
from perdure.updates.look_ahead_perceptron import perceptron_look_ahead
from perdure.updates.losses import cross_entropy

N_STEPS, N = 4, 7
WEIGHTS = np.append(np.full(6, 1 / 6), 0.0)


@pytest.fixture(autouse=True)
def _x64():
    with jax.enable_x64():
        yield


def a_network(hidden):
    return jax.tree.map(lambda leaf: leaf.astype(float), MLP(6, 3, hidden, key=jax.random.key(0)))


def some_rates(network, kind):
    if kind == "one for all":
        return jax.tree.map(lambda leaf: jnp.asarray(0.3), network)
    keys = iter(jax.random.split(jax.random.key(1), len(jax.tree.leaves(network))))
    return jax.tree.map(lambda leaf: jax.random.uniform(next(keys), leaf.shape, float, 0, 0.6), network)


def some_examples():
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(N, 2, 3))), jnp.asarray(rng.integers(0, 3, N))


def general(network, rates, **options):
    """Return what looking ahead finds, one example a step."""
    x, y = some_examples()
    inner = InnerSteps(x[:N_STEPS, None], y[:N_STEPS, None], jnp.ones((N_STEPS, 1)))
    outer, mean = OuterBatch(x, y, jnp.asarray(WEIGHTS)), jnp.full(N_STEPS, 1 / N_STEPS)
    return look_ahead(network, rates, inner, outer, mean, cross_entropy, **options)


def assert_same(one, other, atol=1e-12):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=atol), one, other)


@pytest.mark.parametrize("hidden", [(), (5,), (5, 4)], ids=str)
@pytest.mark.parametrize("kind", ["one for all", "each its own"])
def test_the_form_for_perceptrons_equals_the_general_one(hidden, kind):
    network = a_network(hidden)
    rates, (x, y) = some_rates(network, kind), some_examples()
    mine = perceptron_look_ahead(network, rates, x, y, jnp.asarray(WEIGHTS), N_STEPS, cross_entropy)
    assert_same(mine, general(network, rates))


def objective(network, rates, way=None):
    """Return the mean outer loss step by step, and the inner gradients; `way` are constants to take in their place."""
    x, y = some_examples()
    fast, total, grads = network, 0.0, []
    for n in range(N_STEPS):
        of_step = functools.partial(inner_loss, x=x[n], y=y[n])
        by = jax.grad(of_step)(fast) if way is None else way[n]
        grads.append(by)
        fast = jax.tree.map(lambda weight, by, rate: weight - rate * by, fast, by, rates)
        total += weighted_loss(fast, x, y, jnp.asarray(WEIGHTS))[0] / N_STEPS
    return total, grads


def inner_loss(network, x, y):
    return cross_entropy(network(x), y)


@pytest.mark.parametrize("second_order", [False, True], ids=["first order", "second order"])
def test_gradients_are_those_of_the_unrolled_loop(second_order):
    network = a_network((5,))
    rates = some_rates(network, "each its own")
    constants = None if second_order else objective(network, rates)[1]
    by_both = jax.grad(lambda network, rates: objective(network, rates, constants)[0], argnums=(0, 1))(network, rates)
    found = general(network, rates, second_order=second_order)
    assert_same((found.grads, found.rate_grads), by_both)
    np.testing.assert_allclose(found.losses.mean(), objective(network, rates)[0])


def test_the_orders_differ():
    network = a_network((5,))
    rates = some_rates(network, "each its own")
    first, second = (general(network, rates, second_order=it).grads.layers[0].weight for it in (False, True))
    assert float(jnp.abs(first - second).max()) > 1e-3


def test_a_clipped_entry_passes_on_no_gradient():
    """Clipped to nearly nothing, the inner steps move nothing and second order is first order."""
    network = a_network((5,))
    rates = some_rates(network, "each its own")
    first, second = (general(network, rates, second_order=it, clip=1e-9) for it in (False, True))
    np.testing.assert_allclose(first.losses, first.losses[0], rtol=1e-7)
    assert_same(first.grads, second.grads)


def test_an_empty_step_changes_nothing_and_its_loss_counts_once_more():
    network = a_network((5,))
    rates, (x, y) = some_rates(network, "each its own"), some_examples()
    outer = OuterBatch(x, y, jnp.asarray(WEIGHTS))
    inner = InnerSteps(x[:4].reshape(2, 2, 2, 3), y[:4].reshape(2, 2), jnp.asarray([[0.5, 0.5], [0.0, 0.0]]))
    both = look_ahead(network, rates, inner, outer, jnp.full(2, 0.5), cross_entropy, second_order=True)
    first = jax.tree.map(lambda leaf: leaf[:1], inner)
    alone = look_ahead(network, rates, first, outer, jnp.ones(1), cross_entropy, second_order=True)
    np.testing.assert_allclose(both.losses, jnp.repeat(alone.losses, 2))
    assert_same((both.grads, both.rate_grads), (alone.grads, alone.rate_grads))


def test_a_gradient_is_shortened_to_the_norm_and_never_lengthened():
    grads = [jnp.asarray([3.0, 0.0]), None, jnp.asarray([[4.0]])]
    short = clipped_to_norm(grads, 1.0)
    np.testing.assert_allclose(short[0], [3 / (5 + 1e-6), 0])
    np.testing.assert_allclose(short[2], [[4 / (5 + 1e-6)]])
    assert_same(clipped_to_norm(grads, 7.0), grads)


def test_each_weight_steps_with_its_own_rate_and_leaves_without_a_gradient_stay():
    stepped = rated_step([jnp.ones(2), jnp.ones(1)], [jnp.asarray([1.0, 2.0]), None], [jnp.asarray([0.5, 0.0]), None])
    assert_same(stepped, [jnp.asarray([0.5, 1.0]), jnp.ones(1)])
