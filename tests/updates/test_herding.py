from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.updates.herding import herd

MOST, N, D = 6, 9, 3

pytestmark = pytest.mark.usefixtures("x64")


@jax.jit
def herded(features, mean, candidates, size):
    """Choose, and add up the numbers of those chosen that features were summed for."""

    def sum_features(chosen, n, summed):
        counts = jnp.arange(MOST, dtype=jnp.int32) < n
        return jnp.sum(features[chosen], axis=0, where=counts[:, None]), summed + n

    return herd(features, mean, candidates, size, MOST, sum_features, jnp.zeros((), jnp.int32))


def by_hand(features, mean, candidates, size):
    chosen = []
    for _ in range(size):
        left = [n for n in range(len(features)) if candidates[n] and n not in chosen]
        chosen.append(min(left, key=lambda n: np.linalg.norm(mean - features[[*chosen, n]].mean(axis=0))))
    return chosen


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), data=st.data())
def test_each_choice_brings_the_mean_of_those_chosen_nearest(seed, data):
    rng = np.random.default_rng(seed)
    features, mean = rng.normal(size=(N, D)), rng.normal(size=D)
    candidates = rng.random(N) < 0.7
    candidates[rng.integers(N)] = True
    size = data.draw(st.integers(1, min(MOST, int(candidates.sum()))))
    chosen, summed = herded(features, mean, candidates, jnp.asarray(size, jnp.int32))
    assert chosen[:size].tolist() == by_hand(features, mean, candidates, size)
    assert not chosen[size:].any()
    assert summed == sum(range(size)), "asked before each choice but the first, for those chosen so far"


def test_the_mean_of_a_few_comes_near_to_the_mean_of_all():
    """Better than as many drawn at random do on average, which is what herding is for."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(N, D))
    mean = features.mean(axis=0)
    chosen, _ = herded(features, mean, np.ones(N, bool), jnp.asarray(4, jnp.int32))
    gap = np.linalg.norm(features[chosen[:4]].mean(axis=0) - mean)
    drawn = [np.linalg.norm(features[rng.permutation(N)[:4]].mean(axis=0) - mean) for _ in range(200)]
    assert gap < 0.5 * np.mean(drawn)
