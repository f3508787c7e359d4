"""CLS-ER against recorded runs of its authors' code, and in limits where it must equal other methods."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.learners.cls_er import CLSER, CLSERDraws
from perdure.learners.er import ER
from perdure.updates.gradient import predict_batch
from perdure.updates.losses import cross_entropy
from tests.conftest import reference_files
from tests.learners.conftest import Recording, replay
from tests.learners.small_stream import (
    KEY,
    assert_close,
    batch_of,
    drawn,
    example,
    learned,
    network,
    observe,
    observe_with,
    update,
)

RUNS = reference_files("clser", "clser*.npz")
VALUES = {
    "learning_rate": 0.1,
    "memory_size": 4,
    "replay_batch_size": 2,
    "consistency": 0.5,
    "plastic_probability": 0.9,
    "plastic_decay": 0.7,
    "stable_probability": 0.5,
    "stable_decay": 0.9,
}


def recorded_learner(run):
    """Return the learner of a recording."""
    return CLSER(
        learning_rate=run.hp("lr"),
        memory_size=run.hp("buffer_size"),
        replay_batch_size=run.hp("minibatch_size"),
        consistency=run.hp("reg_weight"),
        plastic_probability=run.hp("plastic_model_update_freq"),
        plastic_decay=run.hp("plastic_model_alpha"),
        stable_probability=run.hp("stable_model_update_freq"),
        stable_decay=run.hp("stable_model_alpha"),
    )


@jax.jit
def learn_batch(learner, state, batch, draws, stored_in):
    """Return the state after a batch, the outputs that the memories drawn were to have, and the loss."""
    memories, _ = learner.replay().recall(state.memory, draws.slots)
    targets = learner.targets(state, jax.tree.map(lambda leaf: leaf[0], memories))
    after, total = learner.update(state, batch, draws)
    memory, _ = jax.lax.scan(
        lambda memory, it: (learner.replay().store(memory, *it), None), state.memory, (batch, stored_in)
    )
    return after._replace(memory=memory), targets, total


@functools.cache
def replayed(file, dtype):
    """Return a recording, and its states, targets and losses, batch after batch."""
    run = Recording.read(file)
    learner = recorded_learner(run)
    start = run.start(learner, run.mlp("init", run.layers(), dtype), dtype)
    uniform = [jnp.asarray(run.numbers[f"{name}_uniform"], dtype) for name in ("plastic", "stable")]
    batches = (
        (batch, CLSERDraws(slots[None], *(it[n] for it in uniform)), stored_in)
        for n, (batch, slots, stored_in) in enumerate(run.batches(dtype))
    )
    return run, *replay(learn_batch, learner, start, batches)


@pytest.mark.reference
@pytest.mark.parametrize("file", RUNS)
@pytest.mark.parametrize(("dtype", "atol"), [(jnp.float64, 1e-10), (jnp.float32, 1e-5)], ids=["float64", "float32"])
def test_all_three_networks_and_the_loss_are_those_recorded(file, dtype, atol):
    with jax.enable_x64(dtype is jnp.float64):
        run, states, _, totals = replayed(file, dtype)
        networks = {"": states.working.model, "plastic_": states.plastic, "stable_": states.stable}
        for prefix, models in networks.items():
            run.assert_recorded(f"after_{prefix}".rstrip("_"), run.layers(), models, atol)
            last = jax.tree.map(lambda leaf: leaf[-1], models)
            run.assert_recorded(f"final_float32_{prefix}".rstrip("_"), run.layers(), last, 1e-5)
        np.testing.assert_allclose(totals, run.numbers["loss"], rtol=0, atol=10 * atol)


@pytest.mark.reference
@pytest.mark.parametrize("file", RUNS)
def test_memories_and_whose_outputs_they_are_to_have_are_those_recorded(file, x64):
    run, states, targets, _ = replayed(file, jnp.float64)
    run.assert_remembered(states.memory.examples)
    networks = states.plastic, states.stable
    for n, chosen in enumerate(run.numbers["chose_stable"][1:], 1):
        x = run.numbers["stream_x"][np.maximum(run.numbers["replay_draws_stream_index"][n], 0)].astype(np.float64)
        plastic, stable = (
            predict_batch(jax.tree.map(lambda leaf, n=n: leaf[n - 1], it), jnp.asarray(x)) for it in networks
        )
        expected = np.where(chosen[:, None] == 1, stable, plastic)
        drawn = chosen >= 0
        np.testing.assert_allclose(targets[n][drawn], expected[drawn], rtol=0, atol=1e-10)


def moved(before, after):
    return any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (before, after)), strict=True))


def test_each_average_moves_with_its_own_probability():
    for plastic, stable in [(0.0, 1.0), (1.0, 0.0)]:
        learner = CLSER(**{**VALUES, "plastic_probability": plastic, "stable_probability": stable})
        before = learned(learner, 3)
        after, _ = observe(learner, before, example(5), jax.random.key(5))
        assert moved(before.plastic, after.plastic) == bool(plastic)
        assert moved(before.stable, after.stable) == bool(stable)


def test_without_decay_an_average_is_the_weights():
    state = learned(CLSER(**{**VALUES, "plastic_probability": 1.0, "plastic_decay": 0.0}))
    assert_close(state.plastic, state.working.model)


def test_the_first_move_goes_half_of_the_way_whatever_the_decay():
    first = learned(CLSER(**{**VALUES, "stable_probability": 1.0, "stable_decay": 1.0}), 1)
    assert_close(first.stable, jax.tree.map(lambda a, b: (a + b) / 2, network(), first.working.model))


def test_without_consistency_the_working_network_is_that_of_experience_replay():
    learner, er = CLSER(**{**VALUES, "consistency": 0}), ER(0.1, 4, 2)
    state = learned(learner)
    expected, _ = observe_with(
        er, er.init(state.working.model, example(0), KEY)._replace(memory=state.memory), example(9), drawn([2, 0])
    )
    zero = jnp.zeros(())
    after, _ = update(learner, state, batch_of(example(9)), CLSERDraws(drawn([2, 0]).slots, zero, zero))
    assert_close(after.working.model, expected.model)


@pytest.mark.long
def test_a_memory_is_to_have_the_outputs_of_the_average_that_is_better_on_it():
    learner = CLSER(**VALUES)
    state = learned(learner, 12)
    memories = state.memory.examples
    outputs = [predict_batch(average, memories.x) for average in (state.plastic, state.stable)]
    losses = [cross_entropy(it, memories.y) for it in outputs]
    better = np.asarray(losses[1] < losses[0])
    assert better.any()
    assert not better.all()
    assert_close(learner.targets(state, memories), np.where(better[:, None], outputs[1], outputs[0]))
