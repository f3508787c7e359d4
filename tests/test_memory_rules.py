"""What each memory rule keeps, against its law."""

from collections import Counter
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from perdure.learners.er import ER
from perdure.learners.replay import MEMORY_RULES, Replay

SEEDS = 4000


def kept(rule, labels, size):
    """Return which examples of a stream are in the memory at its end, for many seeds: (seeds, examples)."""
    replay = Replay(size, 1, rule=rule)
    n, n_classes = len(labels), int(np.max(labels)) + 1
    labels = jnp.asarray(labels, jnp.int32)

    def run(key):
        def step(memory, place):
            draws = replay.draw(memory, jax.random.fold_in(key, place), labels[place])
            return replay.store(memory, (place,), draws.stored_in, labels[place]), None

        memory = replay.init((jnp.zeros((), jnp.int32),), n_classes)
        memory, _ = jax.lax.scan(step, memory, jnp.arange(n, dtype=jnp.int32))
        filled = jnp.arange(size) < jnp.minimum(memory.seen, size)
        return jnp.zeros(n, bool).at[jnp.where(filled, memory.examples[0], n)].set(True, mode="drop")

    return np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), SEEDS)))


def assert_probability(found, expected):
    """Is each frequency within 4.5 standard errors of its probability?"""
    error = np.sqrt(np.maximum(expected * (1 - expected), 1e-12) / SEEDS)
    assert (np.abs(found - expected) <= 4.5 * error + 1e-9).all(), (found, expected)


def test_a_reservoir_keeps_every_example_alike():
    assert_probability(kept("reservoir", [0] * 40, 8).mean(axis=0), np.full(40, 8 / 40))


def test_a_ring_keeps_the_last():
    np.testing.assert_array_equal(kept("ring", [0] * 20, 8).all(axis=0), np.arange(20) >= 12)


@pytest.mark.parametrize("n", [5, 40])
def test_an_exponentially_biased_reservoir_forgets_exponentially(n):
    """Also while it fills: Aggarwal (2006), theorem 3.1."""
    ages = n - 1 - np.arange(n)
    assert_probability(kept("recent", [0] * n, 8).mean(axis=0), (1 - 1 / 8) ** ages)


def test_a_balanced_memory_keeps_the_rare_class_whole_and_samples_the_others_evenly():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1, 2], [60, 25, 3]))
    found = kept("balanced", labels, 12)
    assert found[:, labels == 2].all()
    numbers = [found[:, labels == label].sum(axis=1) for label in (0, 1)]
    assert (numbers[0] + numbers[1] == 9).all()
    assert set(numbers[0].tolist()) <= {4, 5}
    for label in (0, 1):
        of_class = found[:, labels == label].mean(axis=0)
        assert_probability(of_class, np.full(len(of_class), of_class.mean()))


def biased_law(n, size):
    """Return the probability of each content after n examples, by going through all that may happen."""
    law = {frozenset(): 1.0}
    for example in range(n):
        after = Counter()
        for held, probability in law.items():
            for replaced in held:
                after[held - {replaced} | {example}] += probability / size
            after[held | {example}] += probability * (1 - len(held) / size)
        law = {held: probability for held, probability in after.items() if probability > 0}
    return law


BIG = 6
WHOLE_LAWS = {
    "reservoir": ([0] * 6, 3, {frozenset(held): 1 / 20 for held in combinations(range(6), 3)}),
    "recent": ([0] * 5, 3, biased_law(5, 3)),
    "balanced": ([0] * BIG + [1], 3, {frozenset((*held, BIG)): 1 / 15 for held in combinations(range(BIG), 2)}),
}


@pytest.mark.parametrize("rule", WHOLE_LAWS)
def test_each_content_of_the_memory_is_as_probable_as_its_law_says(rule):
    labels, size, law = WHOLE_LAWS[rule]
    counts = Counter(frozenset(np.flatnonzero(held).tolist()) for held in kept(rule, labels, size))
    assert counts.keys() <= law.keys()
    observed, expected = zip(*((counts[held], SEEDS * probability) for held, probability in law.items()), strict=True)
    assert stats.chisquare(observed, expected).pvalue > 1e-4


@pytest.mark.parametrize("rule", MEMORY_RULES)
def test_every_rule_serves_a_learner(rule):
    learner = ER(0.1, 4, 2, memory_rule=rule)
    assert learner.replay().rule == rule
    with pytest.raises(ValueError, match=f"memory_rule = 'none', expected one of {', '.join(MEMORY_RULES)}"):
        ER(0.1, 4, 2, memory_rule="none")
