from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.models import CosineMLP


def test_logits_are_ten_times_the_cosines_of_features_and_class_vectors(x64):
    model = CosineMLP(6, 3, (5, 4), key=jax.random.key(0))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3)))
    features, weight = np.maximum(model.features(x), 0), np.asarray(model.weight)
    lengths = np.linalg.norm(weight, axis=1) + 1e-5
    expected = 10 * weight @ features / lengths / (np.linalg.norm(features) + 1e-5)
    np.testing.assert_allclose(model(x), expected, rtol=1e-12)
    assert np.abs(expected).max() > 0.1


def test_only_the_directions_of_class_vectors_matter():
    model = CosineMLP(3, 2, (4,), key=jax.random.key(1))
    x, longer = jnp.ones(3), eqx.tree_at(lambda it: it.weight, model, 50 * model.weight)
    np.testing.assert_allclose(longer(x), model(x), rtol=1e-3, atol=1e-4)


def test_with_all_features_off_logits_are_zero_and_derivatives_finite():
    model = CosineMLP(3, 2, (4,), key=jax.random.key(1))
    value, grads = jax.value_and_grad(lambda it: it(jnp.zeros(3)).sum())(model)
    assert value == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


@pytest.mark.parametrize(("classes", "hidden"), [(0, (4,)), (2, ())])
def test_there_must_be_classes_and_features(classes, hidden):
    with pytest.raises(ValueError, match="expected at least one class and one hidden layer"):
        CosineMLP(3, classes, hidden, key=jax.random.key(0))
