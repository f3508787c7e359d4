"""A model with running statistics, small enough to be worked out by hand."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from perdure.models import BatchModel, Statistics


class Normalizing(BatchModel):
    """Normalises each of the channels of inputs (positions, channels), then is linear in what it has got."""

    statistics: Statistics
    weight: jnp.ndarray

    def __call__(self, x):
        return self._outputs(x, self.statistics.mean, self.statistics.variance)

    def in_training(self, x, mask=None):
        where = True if mask is None else mask[:, None, None]
        mean, variance = x.mean(axis=(0, 1), where=where), x.var(axis=(0, 1), where=where)
        outputs = jnp.stack([self._outputs(one, mean, variance) for one in x])
        moved = Statistics(0.9 * self.statistics.mean + 0.1 * mean, 0.9 * self.statistics.variance + 0.1 * variance)
        return outputs, Normalizing(moved, self.weight)

    def _outputs(self, x, mean, variance):
        return self.weight @ ((x - mean[None]) / jnp.sqrt(variance + 0.1)[None]).ravel()


@pytest.fixture
def normalizing(x64):
    """A model of inputs (4, 2) and three outputs, in float64."""
    rng = np.random.default_rng(7)
    mean, variance, weight = rng.normal(size=2), rng.uniform(0.5, 2, 2), rng.normal(size=(3, 8))
    return Normalizing(Statistics(jnp.asarray(mean), jnp.asarray(variance)), jnp.asarray(weight))
