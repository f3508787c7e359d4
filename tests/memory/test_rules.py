"""What each memory rule keeps, against its law."""

from collections import Counter
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from perdure.learners.er import ER
from perdure.learners.replay import HALVES, MEMORY_RULES, Replay

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


def test_two_halves_keep_the_last_and_all_others_alike():
    expected = np.concatenate([np.full(36, 4 / 36), np.ones(4)])
    assert_probability(kept(HALVES, [0] * 40, 8).mean(axis=0), expected)


@pytest.mark.parametrize("n", [1, 3, 4, 7])
def test_two_halves_keep_everything_while_there_is_room(n):
    assert kept(HALVES, [0] * n, 8).all()


def test_draws_from_two_halves_are_of_both_in_turn_and_uniform_in_each():
    replay = Replay(8, 5, 2, rule=HALVES)

    def slots(n):
        memory = replay.init((jnp.zeros((), jnp.int32),))._replace(seen=jnp.asarray(n, jnp.int32))
        keys = jax.random.split(jax.random.key(n), SEEDS)
        return np.asarray(jax.vmap(lambda key: replay.draw(memory, key).slots)(keys))

    for n, newest, older in ((30, 4, range(4, 8)), (6, 4, range(4, 6)), (3, 3, range(3))):
        found = slots(n)
        for draws, possible in ((found[:, :, ::2], range(newest)), (found[:, :, 1::2], older)):
            values, counts = np.unique(draws, return_counts=True)
            assert values.tolist() == list(possible)
            assert stats.chisquare(counts).pvalue > 1e-4


def test_two_halves_are_right_beyond_the_largest_count():
    """An older example is kept with the probability 4 / n also where n is larger than an integer; the ring turns."""
    replay = Replay(8, 1, rule=HALVES)
    memory = replay.init((jnp.zeros((), jnp.int32),))
    for periods, seen in ((0, 2**30), (1, 1), (1, 7)):
        counted = memory._replace(seen=jnp.asarray(seen, jnp.int32), periods=jnp.asarray(periods, jnp.int32))
        keys = jax.random.split(jax.random.key(seen), SEEDS)
        slots = np.asarray(jax.vmap(lambda key, counted=counted: replay.draw(counted, key).stored_in)(keys))
        assert (slots >= 4).all()
        assert (slots >= 8).mean() > 0.99
        after = replay.store(counted, (jnp.asarray(5, jnp.int32),), jnp.asarray(8, jnp.int32))
        assert np.flatnonzero(after.examples[0]).tolist() == [seen % 4]


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


def halves_law(n, size):
    """Return the probability of each content of two halves: the ring is certain, all subsets of the rest as likely."""
    newest = range(n - size // 2, n)
    older = list(combinations(range(n - size // 2), size // 2))
    return {frozenset((*held, *newest)): 1 / len(older) for held in older}


BIG = 6
WHOLE_LAWS = {
    "reservoir": ([0] * 6, 3, {frozenset(held): 1 / 20 for held in combinations(range(6), 3)}),
    "recent": ([0] * 5, 3, biased_law(5, 3)),
    "balanced": ([0] * BIG + [1], 3, {frozenset((*held, BIG)): 1 / 15 for held in combinations(range(BIG), 2)}),
    HALVES: ([0] * 8, 6, halves_law(8, 6)),
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
