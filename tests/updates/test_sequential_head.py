"""SGD on one example after another through convolutions and a perceptron, against the plain form."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.rl.networks import MNIH_2013, FrameLayers, MnihNetwork
from perdure.rl.transition import Target, td_loss
from perdure.updates import sequential
from perdure.updates.sequential import general_meta_steps, meta_steps
from perdure.updates.sequential_head import head_gram_meta_steps
from tests.conftest import first_short

SMALL = FrameLayers(((4, 2, 3), (3, 1, 4)), 5)


def batches(s, k, layers=SMALL, side=12, dtype: type = np.float64, absent=()):
    """Return a network, frames, targets and rates; the rates of those `absent` in each batch are zero."""
    rng = np.random.default_rng(s)
    network = MnihNetwork((2, side, side), 3, layers, key=jax.random.key(k))
    network = jax.tree.map(lambda leaf: leaf.astype(dtype), network)
    frames = jnp.asarray(rng.integers(0, 256, (s, k, 2, side, side)), jnp.uint8)
    targets = Target(jnp.asarray(rng.integers(0, 3, (s, k)), jnp.int32), jnp.asarray(rng.normal(size=(s, k)), dtype))
    rates = rng.uniform(0.05, 0.2, (s, k)).astype(dtype)
    rates[:, list(absent)] = 0
    return network, frames, targets, jnp.asarray(rates)


def assert_equal_forms(arguments, meta_rate, tolerance):
    ours, plain = (
        jax.jit(form, static_argnums=5)(*arguments, meta_rate, td_loss)
        for form in (head_gram_meta_steps, general_meta_steps)
    )
    for before, one, other in zip(
        jax.tree.leaves(arguments[0]), jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True
    ):
        assert (np.asarray(one) != np.asarray(before)).any()
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("s", "k"), first_short([(2, 4), (1, 1), (3, 7)]))
@pytest.mark.parametrize("meta_rate", [0.3, 1.0])
def test_it_equals_differentiating_the_whole_network(s, k, meta_rate, x64):
    assert_equal_forms(batches(s, k), meta_rate, 1e-9)


@pytest.mark.long
def test_it_equals_the_plain_form_in_float32_with_the_network_that_agents_have():
    assert_equal_forms(batches(1, 16, MNIH_2013, side=42, dtype=np.float32), 0.3, 1e-5)


def test_an_absent_memory_moves_nothing(x64):
    network, frames, targets, rates = batches(2, 4, absent=(1, 3))
    learned = meta_steps(network, frames, targets, rates, 0.3, td_loss)
    places = jnp.asarray([0, 2])
    some_targets = jax.tree.map(lambda leaf: leaf[:, places], targets)
    alone = meta_steps(network, frames[:, places], some_targets, rates[:, places], 0.3, td_loss)
    for one, other in zip(jax.tree.leaves(learned), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_such_a_network_does_not_take_the_general_form(monkeypatch, x64):
    network, frames, targets, rates = batches(1, 2)
    monkeypatch.setattr(sequential, "general_meta_steps", None)
    assert isinstance(meta_steps(network, frames, targets, rates, 0.3, td_loss), MnihNetwork)
