"""DER++ against recorded runs of its authors' code, and in limits where it must equal other methods."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from perdure.core import Example
from perdure.learners.der import DERPlusPlus, Remembered
from perdure.learners.online import Online
from perdure.learners.replay import Draws
from perdure.models import MLP
from perdure.updates.gradient import predict_batch
from perdure.updates.losses import mean_squared_error
from tests.conftest import reference_files
from tests.learners.conftest import Recording

RUNS = reference_files("der", "der*.npz")
VALUES = {"learning_rate": 0.1, "memory_size": 4, "replay_batch_size": 2, "alpha": 0.3, "beta": 0.7}
KEY = jax.random.key(0)


def recorded_learner(numbers):
    """Return the learner of a recording; DER is DER++ without the labels' term."""

    def sgd(rate):
        decay = optax.add_decayed_weights(float(numbers["hp_optim_wd"]))
        return optax.chain(decay, optax.sgd(rate, momentum=float(numbers["hp_optim_mom"])))

    return DERPlusPlus(
        learning_rate=float(numbers["hp_lr"]),
        memory_size=int(numbers["hp_buffer_size"]),
        replay_batch_size=int(numbers["hp_minibatch_size"]),
        alpha=float(numbers["hp_alpha"]),
        beta=float(numbers.get("hp_beta", 0.0)),
        optimizer=sgd,
    )


@jax.jit
def learn_batch(learner, state, batch, draws, slots):
    """Return the state after a batch, its outputs before it and the sum of the loss's terms."""
    outputs = predict_batch(state.model, batch.x)
    after, total = learner.update(state, batch, draws)

    def store(memory, new):
        return learner.replay().store(memory, *new), None

    memory = jax.lax.scan(store, state.memory, (Remembered(batch.x, batch.y, outputs), slots))[0]
    return after._replace(memory=memory), outputs, total


@functools.cache
def replayed(file, dtype):
    """Return a recording, and state, outputs and loss of each of its batches."""
    run = Recording.read(file)
    numbers, stream = run.numbers, run.stream(dtype)
    learner = recorded_learner(numbers)
    state = run.start(learner, run.mlp("init", run.layers(), dtype), dtype)
    slots = np.where(numbers["reservoir_slot"] < 0, learner.memory_size, numbers["reservoir_slot"])
    slots = jnp.asarray(slots, jnp.int32)
    draws = jnp.asarray(np.maximum(numbers["replay_draws"], 0), jnp.int32)
    steps = []
    for n, (start, stop) in enumerate(zip(numbers["batch_start"], numbers["batch_end"], strict=True)):
        batch = jax.tree.map(lambda leaf, start=start, stop=stop: leaf[start:stop], stream)
        both = jnp.broadcast_to(draws[n], (2, draws.shape[-1]))  # DER draws one batch; the other weighs nothing
        state, outputs, total = learn_batch(learner, state, batch, both, slots[start:stop])
        steps.append((state, outputs, total))
    return run, steps


def trajectory(steps):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *(state for state, _, _ in steps))


@pytest.mark.reference
@pytest.mark.parametrize("file", RUNS)
@pytest.mark.parametrize(("dtype", "atol"), [(jnp.float64, 1e-10), (jnp.float32, 1e-5)], ids=["float64", "float32"])
def test_weights_outputs_and_losses_are_those_recorded(file, dtype, atol):
    with jax.enable_x64(dtype is jnp.float64):
        run, steps = replayed(file, dtype)
        states = trajectory(steps)
        run.assert_recorded("after", run.layers(), states.model, atol)
        run.assert_recorded("final_float32", run.layers(), jax.tree.map(lambda leaf: leaf[-1], states.model), 1e-5)
        outputs = np.concatenate([outputs for _, outputs, _ in steps])
        np.testing.assert_allclose(outputs, run.numbers["batch_logits"], rtol=0, atol=10 * atol)
        np.testing.assert_allclose([total for *_, total in steps], run.numbers["loss"], rtol=0, atol=10 * atol)


@pytest.mark.reference
@pytest.mark.parametrize("file", RUNS)
def test_the_memory_holds_what_the_recorded_memory_held(file, x64):
    run, steps = replayed(file, jnp.float64)
    memory = trajectory(steps).memory
    for n, indices in enumerate(run.numbers["memory_stream_index"]):
        held = indices[indices >= 0]
        np.testing.assert_array_equal(memory.examples.x[n, : len(held)], run.numbers["stream_x"][held])
        np.testing.assert_array_equal(memory.examples.y[n, : len(held)], run.numbers["stream_y"][held])
        recorded = run.numbers["memory_logits"][n, : len(held)]
        np.testing.assert_allclose(memory.examples.outputs[n, : len(held)], recorded, rtol=0, atol=1e-10)


def example(n):
    x = np.random.default_rng(n).normal(size=3).astype(np.float32)
    return Example(*map(jnp.asarray, (x, np.int32(n % 4), np.int32(0))))


@functools.cache
def network():
    return MLP(3, 4, (5,), key=KEY)


@jax.jit
def observe_with(learner, state, example, draws):
    return learner.observe_with(state, example, draws)


@jax.jit
def observe(learner, state, example, key):
    return learner.observe(state, example, key)


def learned(learner, n=7):
    state = learner.init(network(), example(0), KEY)
    for number in range(n):
        state, _ = observe(learner, state, example(number), jax.random.key(number))
    return state


def assert_close(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), one, other)


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
    state, zero = learned(learner), jnp.zeros((), jnp.int32)
    draws = [jnp.asarray(it, jnp.int32) for it in ([[0, 1], [2, 3]], [[2, 3], [2, 3]], [[0, 1], [0, 1]])]
    after = [observe_with(learner, state, example(9), Draws(slots, zero, zero))[0] for slots in draws]
    base, *others = (it.model.layers[0].bias for it in after)
    changed = [bool((other != base).any()) for other in others]
    assert changed == [term == "alpha", term == "beta"]


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
