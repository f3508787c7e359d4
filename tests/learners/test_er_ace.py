"""ER-ACE against recorded runs of its released code, and the paper's rule in limits and by hand."""

from __future__ import annotations

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import Example
from perdure.learners.er_ace import ERACE, ERACEReleased, ERACEReleasedTaskFree
from perdure.learners.online import Online
from perdure.models import CosineMLP
from perdure.updates.gradient import predict_batch, sgd_step
from perdure.updates.losses import cross_entropy
from tests.conftest import first_short, reference_files
from tests.learners.conftest import Recording, learn_batch, replay
from tests.learners.small_stream import (
    KEY,
    N_OUTPUTS,
    assert_close,
    batch_of,
    drawn,
    example,
    learned,
    network,
    observe_with,
    update,
)

RUNS = reference_files("der", "er_ace*.npz")
VALUES = {"learning_rate": 0.1, "memory_size": 4, "replay_batch_size": 2}


def recorded_learner(run):
    """Return the learner of a recording."""
    make = ERACEReleasedTaskFree if run.hp("task_free") else ERACEReleased
    return make(run.hp("lr"), run.hp("buffer_size"), run.hp("minibatch_size"), optimizer=run.sgd)


def recorded_network(run, moment, dtype):
    """Return the recorded network: with the cosine classifier the last layer has no bias."""
    *hidden, last = run.layers()
    if not run.hp("use_custom_classifier"):
        return run.mlp(moment, run.layers(), dtype)
    features = run.mlp(moment, hidden, dtype)
    weight = jnp.asarray(run.numbers[f"{moment}_{last.format('weight')}"], dtype)
    blank = CosineMLP(1, 1, (1,), key=KEY)
    return eqx.tree_at(lambda it: (it.features, it.weight), blank, (features, weight))


def assert_recorded(run, moment, models, atol):
    *hidden, last = run.layers()
    if isinstance(models, CosineMLP):
        run.assert_recorded(moment, hidden, models.features, atol)
        recorded = run.numbers[f"{moment}_{last.format('weight')}"]
        np.testing.assert_allclose(models.weight, recorded, rtol=0, atol=atol)
    else:
        run.assert_recorded(moment, run.layers(), models, atol)


@functools.cache
def replayed(file, dtype):
    """Return a recording, and its states, outputs and losses, batch after batch."""
    run = Recording.read(file)
    learner = recorded_learner(run)
    start = run.start(learner, recorded_network(run, "init", dtype), dtype)
    return run, *replay(learn_batch, learner, start, run.batches(dtype))


@pytest.mark.reference
@pytest.mark.parametrize("file", RUNS)
@pytest.mark.parametrize(("dtype", "atol"), [(jnp.float64, 1e-10), (jnp.float32, 1e-5)], ids=["float64", "float32"])
def test_weights_outputs_and_losses_are_those_recorded(file, dtype, atol):
    with jax.enable_x64(dtype is jnp.float64):
        run, states, outputs, totals = replayed(file, dtype)
        assert_recorded(run, "after", states.model, atol)
        assert_recorded(run, "final_float32", jax.tree.map(lambda leaf: leaf[-1], states.model), 1e-5)
        np.testing.assert_allclose(np.concatenate(outputs), run.numbers["batch_logits"], rtol=0, atol=10 * atol)
        np.testing.assert_allclose(totals, run.numbers["loss"], rtol=0, atol=10 * atol)


@pytest.mark.reference
@pytest.mark.parametrize("file", RUNS)
def test_the_memory_holds_what_the_recorded_memory_held(file, x64):
    run, states, *_ = replayed(file, jnp.float64)
    run.assert_remembered(states.memory.examples)


@pytest.mark.parametrize("labels", [[2, 0], [1, 1]])
def test_the_step_of_the_paper_is_down_the_loss_among_the_classes_that_arrive_and_that_of_memories(labels):
    learner = ERACE(**VALUES)
    state = learned(learner)
    batch = batch_of(*(example(20 + n, label=label) for n, label in enumerate(labels)))
    after, total = update(learner, state, batch, drawn([3, 1]).slots)
    kept = jnp.asarray(sorted(set(labels)))
    memories = jax.tree.map(lambda leaf: leaf[jnp.asarray([3, 1])], state.memory.examples)

    def loss(model):
        own = predict_batch(model, batch.x)[:, kept]
        of_arriving = cross_entropy(own, jnp.searchsorted(kept, batch.y)).mean()
        return of_arriving + cross_entropy(predict_batch(model, memories.x), memories.y).mean()

    expected, grads = jax.jit(jax.value_and_grad(loss))(state.model)
    assert_close(after.model, sgd_step(state.model, grads, 0.1))
    assert_close(total, expected)


def test_one_example_that_arrives_alone_teaches_only_through_memories():
    learner = ERACE(**VALUES)
    assert_close(learned(learner, 1).model, network())
    state = learned(learner)
    one, other = (observe_with(learner, state, example(n), drawn([0, 1]))[0].model for n in (20, 31))
    assert_close(one, other)
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (one, state.model)), strict=True))


@pytest.mark.parametrize("make", first_short([ERACE, ERACEReleased, ERACEReleasedTaskFree]))
def test_with_all_classes_in_the_batch_nothing_is_masked_in_any_of_them(make):
    """Then the rules agree: the loss is that of the batch plus that of memories."""
    learner = make(**VALUES)
    state = learned(learner, task_length=3)
    batch = batch_of(*(example(n, task=2) for n in range(N_OUTPUTS)))
    after, _ = update(learner, state, batch, drawn([3, 1]).slots)
    memories = jax.tree.map(lambda leaf: leaf[jnp.asarray([3, 1])], state.memory.examples)

    def loss(model):
        pairs = ((it.x, it.y) for it in (batch, memories))
        return sum(cross_entropy(predict_batch(model, x), y).mean() for x, y in pairs)

    assert_close(after.model, sgd_step(state.model, jax.jit(jax.grad(loss))(state.model), 0.1))


def test_in_the_first_task_the_released_rule_is_online_learning():
    released, online = ERACEReleased(**VALUES), Online(0.1)
    assert_close(learned(released).model, learned(online).model)
    beyond, further = learned(released, 8, task_length=7).model, learned(online, 8).model
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (beyond, further)), strict=True))


@pytest.mark.long
def test_a_first_task_that_comes_again_is_not_the_first():
    learner = ERACEReleased(**VALUES)
    states = learned(learner, 8, task_length=7), learned(learner, 8)
    past, within = (observe_with(learner, state, example(9, task=0), drawn([0, 1]))[0] for state in states)
    assert past.first_task < 0
    assert within.first_task == 0


def test_numbers_are_no_labels():
    target = Example(jnp.zeros(3), jnp.zeros(4), jnp.zeros((), jnp.int32))
    with pytest.raises(TypeError, match=r"^ERACE got y of dtype float32, expected integer labels"):
        ERACE(**VALUES).init(network(), target, KEY)
