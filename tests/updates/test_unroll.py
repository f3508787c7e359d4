"""The Gram form of the inner loop against the general one, in float64: outputs and both kinds of gradient."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.models import MLP
from perdure.updates.losses import cross_entropy, mean_squared_error
from perdure.updates.unroll import gram_query_adapted, query_adapted, unroll

pytestmark = pytest.mark.long

K, D, Q, OUTPUTS = 6, 7, 5, 4


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


def problem(hidden, loss, seed=0):
    rng = np.random.default_rng(seed)
    head = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), MLP(D, OUTPUTS, hidden, key=jax.random.key(seed)))
    features, query = jnp.asarray(rng.normal(size=(K, 1, D))), jnp.asarray(rng.normal(size=(Q, D)))
    y = rng.integers(0, OUTPUTS, (K, 1)) if loss is cross_entropy else rng.normal(size=(K, 1, OUTPUTS))
    return head, features, jnp.asarray(y), query


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("loss", [cross_entropy, mean_squared_error])
@pytest.mark.parametrize("hidden", [(), (5,), (5, 3)])
def test_gram_form_equals_the_general_one(hidden, loss, first_order):
    head, features, y, query = problem(hidden, loss)

    def by_gram(head, features, query):
        return jnp.sum(
            jnp.sin(gram_query_adapted(head, features[:, 0], y[:, 0], query, 0.3, loss, first_order=first_order).after)
        )

    def in_general(head, features, query):
        after = unroll(head, features, y, 0.3, loss, first_order=first_order)
        return jnp.sum(jnp.sin(jax.vmap(after)(query)))

    ours, theirs = (jax.value_and_grad(it, argnums=(0, 1, 2))(head, features, query) for it in (by_gram, in_general))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13), ours, theirs)


def test_before_is_the_head_itself():
    head, features, y, query = problem((5,), cross_entropy)
    for clip in (None, 100.0):
        outputs = query_adapted(head, features, y, query, 0.1, cross_entropy, clip=clip)
        np.testing.assert_allclose(outputs.before, jax.vmap(head)(query), rtol=1e-12)
    assert not np.allclose(outputs.before, outputs.after)


def test_clipping_bounds_every_entry_of_a_step():
    head, features, y, _ = problem((), mean_squared_error)
    after = unroll(head, features[:1], 1000 * y[:1], 1.0, mean_squared_error, clip=0.25)
    moved = jnp.abs(after.layers[0].weight - head.layers[0].weight)
    np.testing.assert_allclose(moved.max(), 0.25)
    free = partial(unroll, head, features[:1], 1000 * y[:1], 1.0, mean_squared_error)
    assert jnp.abs(free().layers[0].weight - head.layers[0].weight).max() > 1
