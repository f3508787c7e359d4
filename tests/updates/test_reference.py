"""A-GEM's step, from one pass over example and memories: that of its formula, whatever the network."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from perdure.core import Example
from perdure.models import MLP
from perdure.updates.gradient import example_loss
from perdure.updates.losses import cross_entropy
from perdure.updates.reference import general_projected_step, perceptron_projected_step, projected_step

RATE, K = 0.3, 6
PERCEPTRONS = {"no hidden layer": (), "one": (5,), "two": (7, 4)}


def drawn(seed):
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.normal(size=(K + 1, 2, 3)))
    examples = Example(x, jnp.asarray(rng.integers(0, 3, K + 1), jnp.int32), jnp.zeros(K + 1, jnp.int32))
    return jax.tree.map(lambda leaf: leaf[0], examples), jax.tree.map(lambda leaf: leaf[1:], examples)


def by_the_formula(model, example, memories):
    """Return the step over −α, and whether the two gradients are in each other's way."""

    def gradient(x, y):
        return ravel_pytree(jax.grad(lambda model: example_loss(model, x, y))(model))[0]

    own, reference = gradient(example.x, example.y), jax.vmap(gradient)(memories.x, memories.y).mean(axis=0)
    harms = own @ reference < 0
    return (own - own @ reference / (reference @ reference) * reference if harms else own), bool(harms)


@pytest.mark.parametrize("sizes", PERCEPTRONS.values(), ids=PERCEPTRONS)
@pytest.mark.parametrize("form", [general_projected_step, perceptron_projected_step])
def test_both_forms_are_the_formula(form, sizes, x64):
    harmed = set()
    for seed in range(8):
        model = MLP(6, 3, sizes, key=jax.random.key(seed))
        example, memories = drawn(seed)
        after = form(model, example, memories, RATE, cross_entropy)
        expected, harms = by_the_formula(model, example, memories)
        step = (ravel_pytree(model)[0] - ravel_pytree(after)[0]) / RATE
        np.testing.assert_allclose(step, expected, rtol=0, atol=1e-12)
        harmed.add(harms)
    assert harmed == {True, False}, "the examples put it to the test"


def test_other_networks_take_the_general_form(x64):
    model = eqx.nn.Sequential([eqx.nn.Lambda(jnp.ravel), eqx.nn.Linear(6, 3, key=jax.random.key(0))])
    weights, rest = eqx.partition(model, eqx.is_array)

    class Network(eqx.Module):
        weights: eqx.nn.Sequential

        def __call__(self, x):
            return eqx.combine(self.weights, rest)(x)

    example, memories = drawn(0)
    after = projected_step(Network(weights), example, memories, RATE, cross_entropy)
    expected, _ = by_the_formula(Network(weights), example, memories)
    step = (ravel_pytree(weights)[0] - ravel_pytree(after.weights)[0]) / RATE
    np.testing.assert_allclose(step, expected, rtol=0, atol=1e-12)
