"""Networks from elsewhere behave as before and hold nothing but arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import haiku
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from perdure.core import Example
from perdure.models import MLP, array_model, from_init_apply, split_trainable

KEY = jax.random.key(0)
EXAMPLE = Example(np.full((2, 3), 51, np.uint8), np.asarray(0, np.int32), np.asarray(0, np.int32))
X = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)


class Scaled(eqx.Module):
    """A module with a function, a number, a NumPy array and nothing among its leaves."""

    weight: Any
    factor: Any
    function: Any
    absent: None = None

    def __call__(self, x):
        return self.function(self.factor * (self.weight @ x))


def test_a_module_with_functions_behaves_the_same_and_holds_arrays_only():
    module = eqx.nn.MLP(6, 3, 5, 2, activation=jax.nn.tanh, key=KEY)
    model = array_model(module)
    assert not all(eqx.is_array(leaf) for leaf in jax.tree.leaves(module))
    assert all(eqx.is_array(leaf) for leaf in jax.tree.leaves(model))
    np.testing.assert_array_equal(model(X.ravel()), module(X.ravel()))
    grads = jax.grad(lambda model: model(X.ravel()).sum())(model)
    expected = eqx.filter_grad(lambda module: module(X.ravel()).sum())(module)
    for one, other in zip(jax.tree.leaves(grads), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)


def test_models_with_equal_others_share_one_program_and_stack():
    models = [array_model(Scaled(np.eye(3, dtype=np.float32) * n, 2.0, jax.nn.relu)) for n in (1, 2)]
    compiled_for = []

    @jax.jit
    def outputs(model, x):
        compiled_for.append(model)
        return model(x)

    for n, model in zip((1, 2), models, strict=True):
        np.testing.assert_allclose(outputs(model, jnp.asarray([1.0, -1.0, 0.5])), [2.0 * n, 0.0, n])
    assert len(compiled_for) == 1
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    assert jax.vmap(lambda model, x: model(x), (0, None))(both, jnp.ones(3)).shape == (2, 3)


def test_other_functions_make_another_program():
    weight = np.eye(2, dtype=np.float32)
    negative = -jnp.ones(2)
    one, other = (array_model(Scaled(weight, 1.0, function)) for function in (jax.nn.relu, jnp.abs))
    compiled = jax.jit(lambda model, x: model(x))
    np.testing.assert_array_equal(compiled(one, negative), [0, 0])
    np.testing.assert_array_equal(compiled(other, negative), [1, 1])


def test_a_model_of_arrays_is_returned_itself():
    model = MLP(6, 3, key=KEY)
    assert array_model(model) is model


def test_refuses_a_leaf_that_is_not_hashable():
    with pytest.raises(TypeError, match=r"a leaf of type set that is not hashable.*mark its field as static"):
        array_model(Scaled(np.eye(2), {1}, jax.nn.relu))


class Pair(NamedTuple):
    """A network as Flax and Haiku have them, its weights kept apart."""

    init: Any
    apply: Any


def linear_network(n_outputs, shape=None):
    def init(key, x):
        return {"weight": jax.random.normal(key, (n_outputs, x.size))}

    def apply(weights, x):
        outputs = weights["weight"] @ x.ravel()
        return outputs if shape is None else outputs.reshape(shape)

    return Pair(init=init, apply=apply)


def test_a_pair_of_functions_becomes_a_factory_of_models():
    factory = from_init_apply(linear_network)
    model = factory(EXAMPLE, 4, KEY)
    weight = jax.random.normal(KEY, (4, 6))
    np.testing.assert_allclose(jax.jit(lambda model, x: model(x))(model, X), weight @ X.ravel(), rtol=1e-6)
    assert [leaf.shape for leaf in jax.tree.leaves(split_trainable(model)[0])] == [(4, 6)]


def test_weights_are_made_for_features_not_pixels():
    seen = []
    network = linear_network(4)
    spy = Pair(init=lambda key, x: (seen.append(x), network.init(key, x))[1], apply=network.apply)
    from_init_apply(lambda n_outputs: spy)(EXAMPLE, 4, KEY)
    np.testing.assert_allclose(seen[0], np.full((2, 3), 0.2), rtol=1e-6)


def test_models_of_all_seeds_share_their_structure():
    factory = from_init_apply(linear_network)
    one, other = (factory(EXAMPLE, 4, jax.random.key(seed)) for seed in (0, 1))
    assert jax.tree.structure(one) == jax.tree.structure(other)
    assert jax.vmap(lambda key: factory(EXAMPLE, 4, key))(jax.random.split(KEY, 3)).weights["weight"].shape == (3, 4, 6)


def test_refuses_outputs_of_another_shape():
    factory = from_init_apply(lambda n_outputs: linear_network(n_outputs, shape=(2, 2)))
    with pytest.raises(
        ValueError, match=r"shape \(2, 3\) .* outputs have shape \(2, 2\), expected \(4,\); .* x\[None\]"
    ):
        factory(EXAMPLE, 4, KEY)


def test_refuses_a_network_that_keeps_state():
    def init(key, x):
        return {"params": jnp.zeros(2), "batch_stats": jnp.zeros(2)}

    factory = from_init_apply(lambda n_outputs: Pair(init=init, apply=lambda weights, x: weights["params"]))
    with pytest.raises(ValueError, match=r"keeps \['batch_stats'\] besides its parameters"):
        factory(EXAMPLE, 2, KEY)


def test_flax_module():
    class Network(linen.Module):
        n_outputs: int

        @linen.compact
        def __call__(self, x):
            return linen.Dense(self.n_outputs)(linen.relu(linen.Dense(5)(x.ravel())))

    model = from_init_apply(lambda n_outputs: Network(n_outputs=n_outputs))(EXAMPLE, 4, KEY)
    module = Network(4)
    weights = module.init(KEY, X)
    np.testing.assert_array_equal(model(X), module.apply(weights, X))
    assert len(jax.tree.leaves(split_trainable(model)[0])) == 4


@pytest.mark.long
def test_haiku_function():
    def network(n_outputs):
        return haiku.without_apply_rng(haiku.transform(lambda x: haiku.nets.MLP([5, n_outputs])(x.ravel())))

    model = from_init_apply(network)(EXAMPLE, 4, KEY)
    pair = network(4)
    np.testing.assert_array_equal(model(X), pair.apply(pair.init(KEY, X), X))
    assert len(jax.tree.leaves(split_trainable(model)[0])) == 4
