"""DER and DER++ against recorded runs of its authors' code, and in limits where it must equal other methods."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.learners.der import DER, DERPlusPlus
from perdure.learners.online import Online
from perdure.updates.losses import mean_squared_error
from tests.conftest import reference_files
from tests.learners.conftest import Recording, learn_batch, replay
from tests.learners.small_stream import KEY, assert_close, drawn, example, learned, network, observe, observe_with

RUNS = reference_files("der", "der*.npz")
VALUES = {"learning_rate": 0.1, "memory_size": 4, "replay_batch_size": 2, "alpha": 0.3, "beta": 0.7}


def recorded_learner(run):
    """Return the learner of a recording."""
    numbers = run.numbers
    values = {
        "learning_rate": float(numbers["hp_lr"]),
        "memory_size": int(numbers["hp_buffer_size"]),
        "replay_batch_size": int(numbers["hp_minibatch_size"]),
        "alpha": float(numbers["hp_alpha"]),
        "optimizer": run.sgd,
    }
    return DERPlusPlus(**values, beta=float(numbers["hp_beta"])) if "hp_beta" in numbers else DER(**values)


@functools.cache
def replayed(file, dtype):
    """Return a recording, and its states, outputs and losses, batch after batch."""
    run = Recording.read(file)
    learner = recorded_learner(run)
    start = run.start(learner, run.mlp("init", run.layers(), dtype), dtype)
    return run, *replay(learn_batch, learner, start, run.batches(dtype))


@pytest.mark.reference
@pytest.mark.parametrize("file", RUNS)
@pytest.mark.parametrize(("dtype", "atol"), [(jnp.float64, 1e-10), (jnp.float32, 1e-5)], ids=["float64", "float32"])
def test_weights_outputs_and_losses_are_those_recorded(file, dtype, atol):
    with jax.enable_x64(dtype is jnp.float64):
        run, states, outputs, totals = replayed(file, dtype)
        run.assert_recorded("after", run.layers(), states.model, atol)
        run.assert_recorded("final_float32", run.layers(), jax.tree.map(lambda leaf: leaf[-1], states.model), 1e-5)
        np.testing.assert_allclose(np.concatenate(outputs), run.numbers["batch_logits"], rtol=0, atol=10 * atol)
        np.testing.assert_allclose(totals, run.numbers["loss"], rtol=0, atol=10 * atol)


@pytest.mark.reference
@pytest.mark.parametrize("file", RUNS)
def test_the_memory_holds_what_the_recorded_memory_held(file, x64):
    run, states, *_ = replayed(file, jnp.float64)
    memories = states.memory.examples
    run.assert_remembered(memories)
    recorded = run.numbers["memory_logits"]
    held = np.isfinite(recorded)
    np.testing.assert_allclose(memories.outputs[held], recorded[held], rtol=0, atol=1e-10)


@pytest.mark.long
def test_observing_is_a_batch_of_one_and_storing_it_with_its_outputs():
    learner, arriving = DERPlusPlus(**VALUES), example(9)
    before = learned(learner)
    draws = learner.replay().draw(before.memory, KEY)
    after, info = observe(learner, before, arriving, KEY)
    batch = jax.tree.map(lambda leaf: leaf[None], arriving)
    expected, outputs, total = learn_batch(learner, before, batch, draws.slots, draws.stored_in[None])
    assert_close(after, expected)
    assert_close((info.outputs, info.extra["total_loss"]), (outputs[0], total))


@pytest.mark.parametrize("changes", [{"alpha": 0, "beta": 0}, {"memory_size": 1, "alpha": 0, "beta": 0}])
def test_without_its_two_terms_it_is_sgd_on_the_arriving_example(changes):
    assert_close(learned(DERPlusPlus(**{**VALUES, **changes})).model, learned(Online(0.1)).model)


def test_the_first_example_is_learned_without_memories():
    assert_close(learned(DERPlusPlus(**VALUES), 1).model, learned(Online(0.1), 1).model)


@pytest.mark.parametrize("term", ["alpha", "beta"])
def test_each_term_has_memories_of_its_own(term):
    """Other slots for one term change the step if that term weighs anything."""
    learner = DERPlusPlus(**{**VALUES, "alpha": 0, "beta": 0, term: 0.5})
    state = learned(learner)
    draws = (drawn(*slots) for slots in ([[0, 1], [2, 3]], [[2, 3], [2, 3]], [[0, 1], [0, 1]]))
    after = [observe_with(learner, state, example(9), slots)[0] for slots in draws]
    base, *others = (it.model.layers[0].bias for it in after)
    changed = [bool((other != base).any()) for other in others]
    assert changed == [term == "alpha", term == "beta"]


def test_der_draws_one_batch_and_is_der_plus_plus_without_labels():
    of_der = {name: value for name, value in VALUES.items() if name != "beta"}
    one, two = DER(**of_der), DERPlusPlus(**{**VALUES, "beta": 0})
    state = learned(two)
    slots = one.replay().draw(state.memory, KEY).slots
    assert slots.shape == (1, 2)
    after, _ = observe_with(one, state, example(9), drawn([0, 1]))
    expected, _ = observe_with(two, state, example(9), drawn([0, 1], [2, 3]))
    assert_close(after, expected)


def test_no_memory_is_drawn_twice_for_one_term():
    learner = DERPlusPlus(**{**VALUES, "replay_batch_size": 4})
    slots = learner.replay().draw(learned(learner).memory, KEY).slots
    np.testing.assert_array_equal(np.sort(slots, axis=1), [[0, 1, 2, 3]] * 2)


def test_targets_may_be_numbers():
    learner = DERPlusPlus(**VALUES, loss=mean_squared_error)
    target = example(0)._replace(y=jnp.asarray([1.0, -1.0, 0.5, 0.0]))
    state = learner.init(network(), target, KEY)
    losses = []
    for n in range(30):
        state, info = observe(learner, state, target, jax.random.key(n))
        losses.append(float(info.loss))
    assert losses[-1] < 0.1 * losses[0]
