from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from perdure.core import Example
from perdure.learners.mer import MER, MERAlgorithm6, MERAlgorithm7
from perdure.learners.replay import Draws, ReplayState
from perdure.memory.buffer import Buffer
from perdure.models import MLP
from perdure.updates.gradient import example_loss, init_train_state

RATE = 0.2
REPLAY = {"learning_rate": RATE, "memory_size": 6, "replay_batch_size": 3}

ARRIVING = 9

pytestmark = pytest.mark.usefixtures("x64")


def example(n):
    x = np.random.default_rng(n).normal(size=3)
    return Example(x, np.asarray(n % 4, np.int32), np.asarray(n % 2, np.int32))


@functools.cache
def network():
    return MLP(3, 4, (5, 4), key=jax.random.key(0))


def state_of(held):
    """Return a state whose memory of six holds examples 0, 1, … held − 1."""
    slots = [example(n) if n < held else jax.tree.map(np.zeros_like, example(0)) for n in range(6)]
    memory = Buffer(jax.tree.map(stack, *slots), jnp.asarray(held, jnp.int32), jnp.zeros((), jnp.int32))
    return ReplayState(*init_train_state(network(), optax.sgd(RATE)), memory)


def stack(*leaves):
    return jnp.asarray(np.stack(leaves))


@jax.jit
def observe_with(learner, state, example, draws):
    return learner.observe_with(state, example, draws)[0]


@jax.jit
def observe(learner, state, example, key):
    return learner.observe(state, example, key)[0]


def observed(learner, held, slots, position=0):
    """Return the models before and after the arriving example with these draws."""
    draws = Draws(jnp.asarray(slots, jnp.int32), jnp.asarray(position, jnp.int32), jnp.asarray(99, jnp.int32))
    return network(), observe_with(learner, state_of(held), example(ARRIVING), draws).model


@jax.jit
def sgd_step(model, example, rate):
    grads = jax.grad(example_loss)(model, example.x, example.y)
    return jax.tree.map(lambda w, g: w - rate * g, model, grads)


def sgd(model, visits, arriving_weight=1.0):
    """SGD on the examples of these numbers, one after another."""
    for n in visits:
        model = sgd_step(model, example(n), RATE * (arriving_weight if n == ARRIVING else 1.0))
    return model


def part_way(before, after, rate):
    return jax.tree.map(lambda old, new: (1 - rate) * np.asarray(old) + rate * np.asarray(new), before, after)


def assert_equal(model, expected):
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13), model, expected)


def largest_difference(one, other):
    return max(
        np.abs(np.asarray(a) - np.asarray(b)).max()
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )


def mer(beta, gamma, batches):
    return MER(**REPLAY, beta=beta, gamma=gamma, batches_per_example=batches)


def test_without_reptile_steps_mer_is_sgd_on_the_arriving_example_and_then_the_memories():
    before, after = observed(mer(1, 1, 1), 6, [[4, 0, 5]])
    assert_equal(after, sgd(before, [ARRIVING, 4, 0, 5]))


def test_the_order_matters():
    before, after = observed(mer(1, 1, 1), 6, [[4, 0, 5]])
    assert largest_difference(after, sgd(before, [4, 0, 5, ARRIVING])) > 1e-4


def test_a_memory_drawn_twice_is_visited_twice():
    before, after = observed(mer(1, 1, 1), 6, [[4, 4, 1]])
    assert_equal(after, sgd(before, [ARRIVING, 4, 4, 1]))


def test_algorithm_1_has_a_reptile_step_after_each_batch_and_one_after_all():
    before, after = observed(mer(0.3, 0.6, 2), 6, [[4, 0, 5], [1, 1, 2]])
    first = part_way(before, sgd(before, [ARRIVING, 4, 0, 5]), 0.3)
    second = part_way(first, sgd(first, [ARRIVING, 1, 1, 2]), 0.3)
    assert_equal(after, part_way(before, second, 0.6))


def test_algorithm_6_visits_the_arriving_example_last():
    learner = MERAlgorithm6(**REPLAY, gamma=0.3, batches_per_example=2)
    before, after = observed(learner, 6, [[4, 0, 5], [1, 1, 2]])
    first = part_way(before, sgd(before, [4, 0, 5, ARRIVING]), 0.3)
    assert_equal(after, part_way(first, sgd(first, [1, 1, 2, ARRIVING]), 0.3))


def test_algorithm_6_replays_one_batch_unless_told():
    assert MERAlgorithm6(**REPLAY, gamma=0.3).n_batches() == 1


@pytest.mark.parametrize("position", range(4))
def test_algorithm_7_visits_the_arriving_example_in_its_place_at_its_own_rate(position):
    learner = MERAlgorithm7(**REPLAY, gamma=0.3, current_example_weight=5)
    before, after = observed(learner, 6, [[4, 0, 5]], position)
    visits = [4, 0, 5]
    visits.insert(position, ARRIVING)
    assert_equal(after, part_way(before, sgd(before, visits, arriving_weight=5), 0.3))


@pytest.mark.parametrize(
    "learner",
    [
        mer(0, 1, 2),
        mer(1, 0, 2),
        MERAlgorithm6(**REPLAY, gamma=0),
        MERAlgorithm7(**REPLAY, gamma=0, current_example_weight=2),
    ],
    ids=["beta", "gamma", "6", "7"],
)
def test_a_meta_rate_of_zero_learns_nothing(learner):
    before, after = observed(learner, 6, [[4, 0, 5]] * learner.n_batches())
    assert largest_difference(before, after) == 0


@pytest.mark.parametrize("held", [0, 1, 2, 3])
def test_only_as_many_memories_as_there_are_are_visited(held):
    slots = [[0, held - 1, 0]] if held else [[0, 0, 0]]
    before, after = observed(mer(1, 1, 1), held, slots)
    assert_equal(after, sgd(before, [ARRIVING, *slots[0][:held]]))
    before, after = observed(MERAlgorithm6(**REPLAY, gamma=1), held, slots)
    assert_equal(after, sgd(before, [*slots[0][:held], ARRIVING]))


@pytest.mark.parametrize("position", [0, 1, 2])
def test_algorithm_7_counts_places_among_the_memories_there_are(position):
    learner = MERAlgorithm7(**REPLAY, gamma=1, current_example_weight=3)
    before, after = observed(learner, 2, [[1, 0, 1]], position)
    visits = [1, 0]
    visits.insert(position, ARRIVING)
    assert_equal(after, sgd(before, visits, arriving_weight=3))


def test_the_very_first_example_of_algorithm_7_only_enters_the_memory():
    learner = MERAlgorithm7(**REPLAY, gamma=0.5, current_example_weight=5)
    state = state_of(0)
    after = observe(learner, state, example(ARRIVING), jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, after.model, state.model)
    np.testing.assert_array_equal(after.memory.examples.x[0], example(ARRIVING).x)
    assert after.memory.seen == 1
    second = observe(learner, after, example(1), jax.random.key(1))
    assert largest_difference(second.model, after.model) > 0


def test_the_other_algorithms_learn_the_very_first_example():
    for learner in (mer(1, 1, 1), MERAlgorithm6(**REPLAY, gamma=1)):
        state = state_of(0)
        after = observe(learner, state, example(ARRIVING), jax.random.key(0))
        assert_equal(after.model, sgd(state.model, [ARRIVING]))


def test_algorithm_1_with_one_batch_multiplies_its_two_meta_rates():
    before, after = observed(mer(0.5, 0.4, 1), 6, [[4, 0, 5]])
    assert_equal(after, part_way(before, sgd(before, [ARRIVING, 4, 0, 5]), 0.2))
