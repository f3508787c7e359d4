import jax.numpy as jnp
import numpy as np
import pytest

from perdure.updates.weights import equal_weights


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([True] * 4, [0.25] * 4), ([True, False, True], [0.5, 0, 0.5]), ([False, False], [0, 0])],
)
def test_those_that_count_share_equally(counts, expected):
    np.testing.assert_array_equal(equal_weights(jnp.asarray(counts)), np.float32(expected))
