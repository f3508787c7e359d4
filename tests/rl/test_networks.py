"""The agents' networks: the published convolutions, and which network goes with which observation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.models import MLP
from perdure.rl.networks import MNIH_2013, MNIH_2015, MnihNetwork, default_network

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def network():
    return MnihNetwork((4, 84, 84), 3, key=jax.random.key(0))


def test_the_network_has_the_published_sizes(network):
    sizes = [leaf.size for leaf in jax.tree.leaves((network.filters, network.biases))]
    assert sum(sizes) == (8 * 8 * 4 * 32 + 32) + (4 * 4 * 32 * 64 + 64) + (3 * 3 * 64 * 64 + 64)
    assert [layer.weight.shape for layer in network.head.layers] == [(512, 7 * 7 * 64), (3, 512)]


def test_convolutions_equal_those_of_xla(network):
    x = jax.random.uniform(jax.random.key(1), (4, 84, 84))
    seen = jnp.moveaxis(x, 0, -1)[None]
    for filters, bias, stride in zip(network.filters, network.biases, (4, 2, 1), strict=True):
        seen = jax.lax.conv_general_dilated(
            seen, filters, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        seen = jax.nn.relu(seen + bias[None, None, None])
    np.testing.assert_allclose(network(x), network.head(seen[0]), rtol=1e-4, atol=1e-5)


def test_frames_get_convolutions_and_numbers_a_perceptron():
    assert isinstance(default_network(jnp.zeros((4, 84, 84), jnp.uint8), 2, jax.random.key(0)), MnihNetwork)
    made = default_network(jnp.zeros(8), 3, jax.random.key(0))
    assert isinstance(made, MLP)
    assert [layer.weight.shape for layer in made.layers] == [(64, 8), (64, 64), (3, 64)]


def test_small_frames_get_the_smaller_published_network():
    made = default_network(jnp.zeros((2, 42, 42), jnp.uint8), 2, jax.random.key(0))
    assert isinstance(made, MnihNetwork)
    assert [filters.shape for filters in made.filters] == [(8, 8, 2, 16), (4, 4, 16, 32)]
    assert [layer.weight.shape for layer in made.head.layers] == [(256, 4 * 4 * 32), (2, 256)]


@pytest.mark.parametrize(("height", "width"), [(42, 42), (36, 84), (37, 39), (83, 64)])
@pytest.mark.parametrize("layers", [MNIH_2013, MNIH_2015])
def test_every_pixel_counts(height, width, layers):
    """Catcher's paddle lies in the last rows: what does not see them cannot learn the game."""
    shape = (2, height, width)
    network = MnihNetwork(shape, 3, layers, key=jax.random.key(0))
    positive = jax.tree.map(jnp.abs, network)  # every unit is active and raises every value
    slopes = jax.grad(lambda x: positive(x).sum())(jnp.ones(shape))
    assert (np.asarray(slopes) > 0).all()


@pytest.mark.parametrize("shape", [(42, 42), (2, 19, 42)])
def test_observations_too_small_for_the_smaller_network_are_refused(shape):
    with pytest.raises(ValueError, match="expected \\(frames, height, width\\) of at least 20 × 20 pixels"):
        MnihNetwork(shape, 3, MNIH_2013, key=jax.random.key(0))


@pytest.mark.parametrize("shape", [(84, 84), (4, 35, 84)])
def test_other_observations_are_refused(shape):
    with pytest.raises(ValueError, match="expected \\(frames, height, width\\) of at least 36 × 36 pixels"):
        MnihNetwork(shape, 3, key=jax.random.key(0))
