"""The fused kernel, in Pallas's interpreter, against the chain that it stands for."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.models import MLP
from perdure.updates.fused import fused_chain
from perdure.updates.losses import cross_entropy, mean_squared_error
from perdure.updates.sequential import chain
from tests.conftest import first_short

K, OUTPUTS = 7, 3


def problem(hidden, loss, seed=0):
    """Return the arguments of a chain of K examples; one of them is absent."""
    rng = np.random.default_rng(seed)
    model = MLP(5, OUTPUTS, hidden, key=jax.random.key(seed))
    upper = eqx.tree_at(lambda it: it.layers[0], model, None)
    upper = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), upper)
    rows = rng.normal(size=(K, 5))
    rates = rng.uniform(0, 0.5, K) * (np.arange(K) != 2)
    y = rng.integers(0, OUTPUTS, K).astype(np.int32) if loss is cross_entropy else rng.normal(size=(K, OUTPUTS))
    before, gram = rng.normal(size=(K, hidden[0])), rows @ rows.T + 1
    return upper, jnp.asarray(before), jnp.asarray(gram), jnp.asarray(y), jnp.asarray(rates)


def assert_close(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), one, other)


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("loss", [cross_entropy, mean_squared_error])
@pytest.mark.parametrize("hidden", first_short([[4, 2, 3], [4], [4, 6]]))
def test_the_kernel_equals_the_chain(hidden, loss):
    given = problem(hidden, loss)
    assert_close(fused_chain(*given, loss), chain(*given, loss))


def test_runs_side_by_side_are_each_the_run_alone():
    runs = [problem((4, 6), cross_entropy, seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *runs)
    together = jax.jit(jax.vmap(partial(fused_chain, loss=cross_entropy)))(*stacked)
    for n, given in enumerate(runs):
        assert_close(jax.tree.map(lambda leaf, n=n: leaf[n], together), chain(*given, cross_entropy))


def test_rates_side_by_side_are_each_the_rate_alone():
    upper, before, gram, y, rates = problem((4, 6), cross_entropy)
    several = jnp.stack([rates, 2 * rates])
    together = jax.vmap(lambda rates: fused_chain(upper, before, gram, y, rates, cross_entropy))(several)
    for n in range(2):
        alone = chain(upper, before, gram, y, several[n], cross_entropy)
        assert_close(jax.tree.map(lambda leaf, n=n: leaf[n], together), alone)
