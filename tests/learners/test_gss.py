"""GSS-Greedy: its scores and replacements by hand, and its step, which is that of experience replay."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from perdure.learners.er import ER
from perdure.learners.gss import FIRST_SCORE, GSSDraws, GSSGreedy, Scored
from perdure.updates.gradient import example_loss
from tests.learners.small_stream import KEY, assert_close, drawn, example, learned, observe_with

LEARNER = GSSGreedy(0.1, memory_size=4, replay_batch_size=2, compared=3)


def draws(slots=(0, 1), compared=(0, 1, 2), chosen=0.0, replaced=0.0):
    slots, compared = (jnp.asarray(it, jnp.int32) for it in (slots, compared))
    return GSSDraws(slots, compared, jnp.asarray(chosen, jnp.float32), jnp.asarray(replaced, jnp.float32))


def gradient(model, example):
    return np.asarray(ravel_pytree(jax.grad(example_loss)(model, example.x, example.y))[0])


def score_of(model, arriving, memories):
    """Return the score by the formula."""
    one = gradient(model, arriving)
    others = [gradient(model, it) for it in memories]
    return 1 + max(one @ it / np.linalg.norm(one) / np.linalg.norm(it) for it in others)


def held(state, slots):
    return [jax.tree.map(lambda leaf, slot=slot: leaf[slot], state.memory.examples.example) for slot in slots]


def test_the_step_is_that_of_experience_replay():
    er, state = ER(0.1, 4, 2), learned(LEARNER)
    memory = state.memory._replace(examples=state.memory.examples.example)
    start = er.init(state.model, example(0), KEY)._replace(memory=memory)
    expected, _ = observe_with(er, start, example(9), drawn([3, 1]))
    after, _ = observe_with(LEARNER, state, example(9), draws(slots=(3, 1)))
    assert_close(after.model, expected.model)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_while_there_is_room_each_example_is_stored_with_its_score_after_the_step(n):
    before = learned(LEARNER, n)
    after, _ = observe_with(LEARNER, before, example(n), draws())
    np.testing.assert_array_equal(after.memory.examples.example.x[n], example(n).x)
    expected = score_of(after.model, example(n), held(before, range(n)))
    assert float(after.memory.examples.score[n]) == pytest.approx(expected, abs=1e-5)


def test_the_first_example_has_a_score_without_comparison():
    assert float(learned(LEARNER, 1).memory.examples.score[0]) == pytest.approx(FIRST_SCORE)


def opposed(state):
    """Return an example whose gradient points away from those of the memories compared, and its score."""
    for n in range(20, 200):
        arriving = example(n)
        after, _ = observe_with(LEARNER, state, arriving, draws(replaced=1.0))
        score = score_of(after.model, arriving, held(state, range(3)))
        if score < 0.9:
            return arriving, score
    raise AssertionError("no such example")


def full(scores, label=0):
    """Return a state whose memory holds four examples of one class with these scores."""
    memories = [Scored(example(n, label=label), jnp.asarray(it, jnp.float32)) for n, it in enumerate(scores)]
    state = learned(LEARNER, 4)
    examples = jax.tree.map(lambda *leaves: jnp.stack(leaves), *memories)
    return state._replace(memory=state.memory._replace(examples=examples))


@pytest.mark.parametrize(("chosen", "slot"), [(0.0, 0), (0.09, 0), (0.11, 1), (0.29, 1), (0.31, 2), (0.99, 3)])
def test_an_opposed_example_may_replace_a_memory_chosen_by_its_score(chosen, slot):
    """Scores 1 : 2 : 3 : 4 share out the numbers from 0 to 1."""
    state = full([0.1, 0.2, 0.3, 0.4])
    arriving, score = opposed(state)
    held_score = float(state.memory.examples.score[slot])
    bound = held_score / (held_score + float(score))
    for replaced, expected in [(bound - 1e-3, True), (bound + 1e-3, False)]:
        after, _ = observe_with(LEARNER, state, arriving, draws(chosen=chosen, replaced=replaced))
        changed = (after.memory.examples.example.x != state.memory.examples.example.x).any(axis=1)
        np.testing.assert_array_equal(changed, (np.arange(4) == slot) & expected)
        if expected:
            assert float(after.memory.examples.score[slot]) == pytest.approx(score, abs=1e-5)


def test_an_example_like_a_memory_replaces_none():
    state = full([1.0, 1.0, 1.0, 1.0])
    after, _ = observe_with(LEARNER, state, example(0, label=0), draws())
    assert_close(after.memory.examples, state.memory.examples)


def test_memories_are_drawn_without_replacement():
    learner = GSSGreedy(0.1, memory_size=4, replay_batch_size=4, compared=4)
    found = learner.draw(learned(learner).memory, KEY)
    np.testing.assert_array_equal(np.sort(found.slots), range(4))
    np.testing.assert_array_equal(np.sort(found.compared), range(4))
