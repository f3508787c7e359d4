"""What the tests of memories share: numbered examples, and the p-value below which a sample is not due to chance."""

import jax.numpy as jnp

from perdure.core import Example

UNLIKELY = 1e-4


def numbered(n):
    """Return the n-th example of a stream, recognisable in every leaf."""
    n = jnp.asarray(n, jnp.int32)
    return Example(jnp.stack([n, 2 * n]).astype(jnp.float32), n, 3 * n)
