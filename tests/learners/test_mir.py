"""Maximally interfered retrieval: what it retrieves, by hand, and where it must equal experience replay."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from perdure.learners.er import ER
from perdure.learners.mir import MIR
from perdure.updates.gradient import example_loss, sgd_step
from tests.learners.small_stream import (
    KEY,
    assert_close,
    batch_of,
    drawn,
    example,
    learned,
    network,
    observe_with,
    update,
)


def mir(memory_size=6, replay_batch_size=2, candidates=4):
    return MIR(learning_rate=0.3, memory_size=memory_size, replay_batch_size=replay_batch_size, candidates=candidates)


def experience_replay(state, arriving, slots):
    """Return the network after a step of experience replay from the same network with these memories."""
    er = ER(0.3, 6, len(slots))
    start = er.init(state.model, arriving, KEY)._replace(memory=state.memory)
    return observe_with(er, start, arriving, drawn(slots))[0].model


def rises(state, arriving):
    """Return by how much the loss on each memory rises by a step on the arriving example alone."""
    grads = jax.grad(example_loss)(state.model, arriving.x, arriving.y)
    tried = sgd_step(state.model, grads, 0.3)
    memories = state.memory.examples
    pairs = zip(memories.x, memories.y, strict=True)
    return np.asarray([example_loss(tried, x, y) - example_loss(state.model, x, y) for x, y in pairs])


@pytest.mark.parametrize("candidates", [[0, 1, 2, 3], [5, 3, 1, 0]])
def test_those_candidates_are_replayed_whose_loss_would_rise_most(candidates):
    state, arriving = learned(mir(), 8), example(9)
    rise = rises(state, arriving)
    assert_close(mir().interference(state.model, batch_of(arriving), state.memory.examples), rise, rtol=1e-4, atol=1e-6)
    worst = sorted(candidates, key=lambda slot: -rise[slot])[:2]
    assert rise[worst[0]] > 0
    after, _ = observe_with(mir(), state, arriving, drawn(candidates))
    assert_close(after.model, experience_replay(state, arriving, worst))


@pytest.mark.parametrize("slots", [[0, 3], [5, 1]])
def test_without_a_choice_it_is_experience_replay(slots):
    learner = mir(candidates=2)
    state, arriving = learned(learner, 8), example(9)
    after, _ = update(learner, state, batch_of(arriving), drawn(slots).slots)
    assert_close(after.model, experience_replay(state, arriving, slots))


def test_of_few_memories_all_are_replayed():
    state, arriving = learned(mir(), 1), example(9)
    after, _ = observe_with(mir(), state, arriving, drawn([0, 0, 0, 0]))
    assert_close(after.model, experience_replay(state, arriving, [0]))
    assert_close(learned(mir(), 1).model, sgd_step(network(), jax.grad(example_loss)(network(), *example(0)[:2]), 0.3))


def test_candidates_are_different_memories():
    learner = mir(candidates=6)
    slots = learner.replay().draw(learned(learner, 8).memory, KEY).slots
    np.testing.assert_array_equal(np.sort(slots), [[0, 1, 2, 3, 4, 5]])
