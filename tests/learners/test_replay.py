from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from perdure.core import Example
from perdure.learners.er import ER
from perdure.learners.mer import MER, MERAlgorithm6, MERAlgorithm7
from perdure.learners.replay import Draws, Replay, ReplayState, gather_batches, move_arriving
from perdure.memory.buffer import Buffer, period
from perdure.models import MLP
from perdure.updates.gradient import example_loss, init_train_state


def numbered(n):
    """Return an example that is recognisable in every leaf."""
    return Example(np.full(3, n, np.float32), np.asarray(n % 4, np.int32), np.asarray(n // 10, np.int32))


def arriving(n):
    return jax.tree.map(jnp.asarray, numbered(n))


def memory_of(numbers, size):
    """Return a memory of `size` slots that holds the examples of these numbers."""
    empty = [jax.tree.map(np.zeros_like, numbered(0))] * (size - len(numbers))
    examples = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *map(numbered, numbers), *empty)
    return Buffer(examples, jnp.asarray(len(numbers), jnp.int32), jnp.zeros((), jnp.int32))


def er(memory_size=6, replay_batch_size=4):
    return ER(learning_rate=0.1, memory_size=memory_size, replay_batch_size=replay_batch_size)


@functools.cache
def network():
    return MLP(3, 4, (5,), key=jax.random.key(0))


def state_of(memory):
    return ReplayState(*init_train_state(network(), optax.sgd(0.1)), memory)


@jax.jit
def observe_with(learner, state, example, draws):
    return learner.observe_with(state, example, draws)


@jax.jit
def draw(learner, memory, key):
    return learner.draw(memory, key)


@jax.jit
def draw_often(learner, memory, keys):
    return jax.vmap(learner.draw, in_axes=(None, 0))(memory, keys)


def slots(*batches):
    return jnp.asarray(batches, jnp.int32)


def test_batches_are_the_arriving_example_and_then_the_memories_drawn():
    memory = memory_of([10, 21, 32], 5)
    batches = gather_batches(memory, arriving(43), slots([2, 0], [1, 1]))
    np.testing.assert_array_equal(batches.examples.x[..., 0], [[43, 32, 10], [43, 21, 21]])
    np.testing.assert_array_equal(batches.examples.y, [[3, 0, 2], [3, 1, 1]])
    np.testing.assert_array_equal(batches.examples.task, [[4, 3, 1], [4, 2, 2]])
    np.testing.assert_array_equal(batches.mask, np.ones((2, 3), bool))
    np.testing.assert_array_equal(batches.arriving, [[True, False, False]] * 2)


@pytest.mark.parametrize("held", [0, 1, 2, 3, 4, 6])
def test_as_many_memories_count_as_the_memory_holds(held):
    batches = gather_batches(memory_of(range(held), 6), arriving(9), slots([0, 0, 0, 0]))
    np.testing.assert_array_equal(batches.mask, [[True] + [n < held for n in range(4)]])


@pytest.mark.parametrize("position", range(5))
def test_the_arriving_example_moves_to_its_place_and_the_others_keep_their_order(position):
    batches = gather_batches(memory_of([1, 2], 6), arriving(9), slots([0, 1, 0, 1], [1, 1, 0, 0]))
    moved = move_arriving(batches, position)
    for before, after in zip(batches.examples.x[..., 0], moved.examples.x[..., 0], strict=True):
        expected = [float(it) for it in before[1:]]
        expected.insert(position, 9.0)
        np.testing.assert_array_equal(after, expected)
    np.testing.assert_array_equal(moved.arriving, np.broadcast_to(np.arange(5) == position, (2, 5)))
    counts = [True, True, False, False]
    counts.insert(position, True)
    np.testing.assert_array_equal(moved.mask, [counts, counts])


@pytest.mark.parametrize("held", [0, 1, 3, 4, 6])
def test_the_position_is_uniform_among_those_that_count(held):
    memory = memory_of(range(held), 6)
    keys = jax.random.split(jax.random.key(held), 20_000)
    draws = draw_often(er(), memory, keys)
    counts = np.bincount(np.asarray(draws.position))
    assert len(counts) == min(held, 4) + 1
    if held:
        assert stats.chisquare(counts).pvalue > 1e-4


def test_draws_have_one_row_of_slots_a_batch():
    learner = MER(learning_rate=0.1, beta=1, gamma=1, memory_size=6, replay_batch_size=4, batches_per_example=3)
    draws = learner.draw(memory_of(range(5), 6), jax.random.key(0))
    assert draws.slots.shape == (3, 4)
    assert draws.position.shape == draws.stored_in.shape == ()
    assert len({tuple(row) for row in np.asarray(draws.slots).tolist()}) > 1, "batches are drawn separately"
    assert draws.stored_in == 5, "while there is room the next free slot is taken"


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), seen=st.integers(0, 30))
def test_only_filled_slots_are_drawn(seed, seen):
    memory = memory_of(range(6), 6)._replace(seen=jnp.asarray(seen, jnp.int32))
    draws = draw(er(), memory, jax.random.key(seed))
    held = min(seen, 6)
    assert 0 <= draws.slots.min() <= draws.slots.max() <= max(held - 1, 0)
    assert 0 <= draws.position <= min(held, 4)
    assert 0 <= draws.stored_in <= seen


def test_the_three_draws_are_independent():
    """Position and slot are drawn from keys of their own: every pair of values is as likely as any other."""
    memory = memory_of(range(6), 6)._replace(seen=jnp.asarray(19, jnp.int32))
    draws = draw_often(er(), memory, jax.random.split(jax.random.key(5), 40_000))
    slot, position, stored_in = (np.asarray(it) for it in (draws.slots[:, 0, 0], draws.position, draws.stored_in))
    for one, other in ((slot, position), (slot, stored_in), (position, stored_in)):
        table = np.zeros((one.max() + 1, other.max() + 1))
        np.add.at(table, (one, other), 1)
        assert stats.chisquare(table.ravel()).pvalue > 1e-4


def test_the_memory_starts_empty_and_the_model_as_given():
    model = network()
    state = er(memory_size=9).init(model, numbered(0), jax.random.key(0))
    assert state.memory.examples.x.shape == (9, 3)
    assert state.memory.seen == 0
    assert all(one is other for one, other in zip(jax.tree.leaves(state.model), jax.tree.leaves(model), strict=True))


@pytest.mark.parametrize(("stored_in", "expected"), [(0, [7, 2, 0]), (2, [1, 2, 7]), (3, [1, 2, 0])])
def test_the_example_is_stored_in_the_slot_drawn(stored_in, expected):
    learner = er(memory_size=3, replay_batch_size=1)
    state = state_of(memory_of([1, 2], 3))
    draws = Draws(slots([0]), jnp.asarray(0, jnp.int32), jnp.asarray(stored_in, jnp.int32))
    after, _ = observe_with(learner, state, numbered(7), draws)
    np.testing.assert_array_equal(after.memory.examples.x[:, 0], expected)
    assert after.memory.seen == 3


def test_the_example_is_replayed_only_after_it_has_been_stored():
    """Drawing the slot that the arriving example will take replays what is there before."""
    learner = er(memory_size=2, replay_batch_size=1)
    state = state_of(memory_of([1, 2], 2))
    into = [Draws(slots([0]), jnp.asarray(0, jnp.int32), jnp.asarray(slot, jnp.int32)) for slot in (0, 1)]
    over, beside = (observe_with(learner, state, numbered(7), draws)[0] for draws in into)
    jax.tree.map(np.testing.assert_array_equal, over.model, beside.model)


def test_the_reported_loss_is_that_before_the_update():
    learner, example = er(), numbered(3)
    state = state_of(memory_of([], 6))
    after, info = observe_with(learner, state, example, draw(learner, state.memory, jax.random.key(1)))
    before, behind = (float(example_loss(it.model, example.x, example.y)) for it in (state, after))
    assert info.loss == pytest.approx(before, rel=1e-6)
    assert behind < before


def test_observe_is_draw_and_then_observe_with():
    learner = er()
    state = state_of(memory_of(range(6), 6))
    key = jax.random.key(3)
    observed = jax.jit(lambda *arguments: learner.observe(*arguments))(state, numbered(7), key)
    with_draws = observe_with(learner, state, numbered(7), draw(learner, state.memory, key))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), observed, with_draws)


METHODS = {
    "er": ER,
    "mer": functools.partial(MER, beta=0.5, gamma=0.7, batches_per_example=2),
    "mer 6": functools.partial(MERAlgorithm6, gamma=0.5, batches_per_example=2),
    "mer 7": functools.partial(MERAlgorithm7, gamma=0.5, current_example_weight=2.0),
}


@pytest.mark.parametrize("held", [1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_more_memories_a_batch_than_the_memory_holds_are_as_many_as_it_holds(method, held):
    """A batch of min(k, |M|), as in the released code: asking for 9 of 3 is asking for 3."""
    few, many = (METHODS[method](learning_rate=0.1, memory_size=3, replay_batch_size=k) for k in (3, 9))
    state, key = state_of(memory_of(range(held), 3)), jax.random.key(4)
    draws = draw(many, state.memory, key)
    assert draws.slots.shape[1] == 3
    assert 0 <= draws.position <= held
    observed = [observe_with(it, state, numbered(7), draw(it, state.memory, key)) for it in (few, many)]
    jax.tree.map(np.testing.assert_array_equal, *observed)
    recorded = draws._replace(slots=jnp.pad(draws.slots, [(0, 0), (0, 6)]))  # as the released code would tell it
    padded = observe_with(many, state, numbered(7), recorded)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), padded, observed[1])


def test_more_draws_than_the_memory_holds_are_uniform_and_with_replacement():
    learner = er(memory_size=3, replay_batch_size=9)
    slots = draw_often(learner, memory_of(range(3), 3), jax.random.split(jax.random.key(8), 20_000)).slots[:, 0]
    table = np.zeros((3, 3, 3))
    np.add.at(table, tuple(np.asarray(slots).T), 1)
    assert stats.chisquare(table.ravel()).pvalue > 1e-4


@pytest.mark.parametrize("n", [2**31 - 2, 2**31 - 1, 2**31, 2**32 + 5])
def test_memories_are_replayed_at_any_count(n):
    learner = er(memory_size=6, replay_batch_size=4)
    memory = memory_of(range(6), 6)
    periods, seen = divmod(n, period(memory))
    memory = memory._replace(seen=jnp.asarray(seen, jnp.int32), periods=jnp.asarray(periods, jnp.int32))
    draws = draw(learner, memory, jax.random.key(0))
    batches = gather_batches(memory, arriving(9), draws.slots)
    assert batches.mask.all()
    often = draw_often(learner, memory, jax.random.split(jax.random.key(1), 50)).slots
    assert set(np.asarray(often).ravel().tolist()) == set(range(6))
    after, _ = observe_with(learner, state_of(memory), numbered(9), draws)
    assert int(after.memory.periods) * period(memory) + int(after.memory.seen) == n + 1


@pytest.mark.parametrize("rule", ["reservoir", "ring"])
def test_a_memory_keeps_what_its_rule_says(rule):
    replay = Replay(3, 2, rule=rule)
    memory = replay.init(numbered(0))
    for n in range(40):
        slot = replay.draw(memory, jax.random.key(n)).stored_in
        memory = replay.store(memory, numbered(n), slot)
    held = sorted(memory.examples.x[:, 0].tolist())
    assert (held == [37, 38, 39]) == (rule == "ring")


def test_anything_may_be_remembered_and_recalled():
    replay = Replay(4, 3, n_batches=2)
    memory = replay.init((jnp.zeros(2), jnp.zeros((), bool)))
    memory = replay.store(memory, (jnp.ones(2), jnp.asarray(True)), jnp.asarray(0, jnp.int32))
    (values, flags), mask = replay.recall(memory, replay.draw(memory, jax.random.key(0)).slots)
    assert (values.shape, flags.shape) == ((2, 3, 2), (2, 3))
    np.testing.assert_array_equal(mask, [[True, False, False]] * 2)
    assert flags[:, 0].all()


def test_a_memory_larger_than_the_stream_keeps_all_of_it_in_order():
    learner = er(memory_size=8)
    state = state_of(memory_of([], 8))
    for n in range(6):
        state, _ = observe_with(learner, state, numbered(n), draw(learner, state.memory, jax.random.key(n)))
    assert state.memory.seen == 6
    np.testing.assert_array_equal(state.memory.examples.x[:, 0], [0, 1, 2, 3, 4, 5, 0, 0])
