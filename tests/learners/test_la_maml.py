"""La-MAML, C-MAML and Sync against recorded runs of their authors' code, and where they must equal other methods."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import Example
from perdure.learners.batches import Ready
from perdure.learners.la_maml import CMAML, LaMAML, Sync
from perdure.learners.la_maml_task_incremental import (
    TaskIncrementalCMAML,
    TaskIncrementalLaMAML,
    TaskIncrementalSync,
    chunks,
)
from perdure.learners.look_ahead import Draws, Memories, Weights, offer
from perdure.models import MLP
from perdure.updates.gradient import sgd_step, weighted_gradient
from perdure.updates.losses import CrossEntropyWithinTask
from tests.conftest import first_short, reference_files
from tests.learners.conftest import Recording

RUNS = [file for name in ("lamaml", "cmaml", "sync", "tinc") for file in reference_files("lamaml", f"{name}*.npz")]
KEY = jax.random.key(0)


def recorded_learner(run, file):
    """Return the learner of a recording."""
    task_incremental = file.name.startswith("tinc")
    values = {
        "memory_size": run.hp("memories"),
        "replay_batch_size": run.hp("replay_batch_size"),
        "batch_size": run.hp("batch_size"),
        "glances": run.hp("glances"),
        "clip_norm": run.hp("grad_clip_norm"),
        "second_order": run.hp("second_order"),
    }
    if task_incremental:
        of_task = int(run.numbers["n_outputs"]) // run.n_tasks
        values |= {
            "inner_steps": run.hp("cifar_batches"),
            "old_task_memory": run.hp("use_old_task_memory"),
            "loss": CrossEntropyWithinTask(tuple(n // of_task for n in range(run.n_tasks * of_task))),
        }
    if run.hp("sync_update"):
        values["learning_rate"] = run.hp("opt_wt")
    if not run.hp("learn_lr"):
        cls = TaskIncrementalCMAML if task_incremental else CMAML
        return cls(**values, inner_rate=run.hp("alpha_init"))
    values |= {"initial_rate": run.hp("alpha_init"), "rate_learning_rate": run.hp("opt_lr")}
    if run.hp("sync_update"):
        return (TaskIncrementalSync if task_incremental else Sync)(**values)
    return (TaskIncrementalLaMAML if task_incremental else LaMAML)(**values)


def recorded_draws(run):
    """Return the recorded draws, leaves (batches, ...)."""
    numbers = run.numbers
    order = numbers["glance_order_stream_index"] - numbers["batch_start"][:, None, None]
    stored_in = np.where(numbers["reservoir_slot"] < 0, run.hp("memories"), numbers["reservoir_slot"])
    stored_in = stored_in[numbers["glance_order_stream_index"][:, 0]]
    draws = Draws(order, np.maximum(numbers["replay_draws"], 0), stored_in)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.int32), draws)


class FreeForm(eqx.Module):
    """The same network under another type, so that it takes the general form of the update."""

    network: MLP

    def __call__(self, x):
        return self.network(x)


@functools.cache
def replayed(file, dtype, form):
    """Return a recording, and the states after each of its batches, leaves (batches, ...)."""
    run = Recording.read(file)
    learner = recorded_learner(run, file)
    start = run.start(learner, form(run.mlp("init", run.layers(), dtype)), dtype)
    size = learner.batch_size

    def learn(state, step):
        state, _ = learner.observe_with(state, *step)
        return state, state

    draws = jax.tree.map(lambda leaf: jnp.repeat(leaf, size, axis=0), recorded_draws(run))
    states = jax.lax.scan(learn, start, (run.stream(dtype), draws))[1]
    return run, jax.tree.map(lambda leaf: np.asarray(leaf)[size - 1 :: size], states)


def plain(model):
    """Leave the network as it is."""
    return model


def network_of(model):
    return model.network if isinstance(model, FreeForm) else model


precisions = pytest.mark.parametrize(
    ("dtype", "atol"), [(jnp.float64, 1e-10), (jnp.float32, 1e-5)], ids=["float64", "float32"]
)


every_run = pytest.mark.parametrize("file", first_short(RUNS))
FIRST_ORDER = [
    file for file in RUNS if not file.name.startswith("tinc") and not Recording.read(file).hp("second_order")
]


@pytest.mark.reference
@precisions
@every_run
def test_weights_and_rates_are_those_recorded(file, dtype, atol):
    with jax.enable_x64(dtype is jnp.float64):
        assert_recorded(*replayed(file, dtype, plain), atol)


@pytest.mark.reference
@pytest.mark.long
@pytest.mark.parametrize("file", FIRST_ORDER)
def test_weights_and_rates_of_any_network_are_those_recorded(file, x64):
    assert_recorded(*replayed(file, jnp.float64, FreeForm), 1e-10)


def assert_recorded(run, states, atol):
    """Assert that weights and learned rates after each batch, and at the end of the float32 run, are those recorded."""
    recorded = Recording({name: last_glance(name, it) for name, it in run.numbers.items()})
    trees = {"": states.model} | ({"alpha_": states.rates} if run.hp("learn_lr") else {})
    for prefix, tree in trees.items():
        layers, network = recorded.layers(prefix), network_of(tree)
        assert len(layers) == 3
        recorded.assert_recorded("after_glance", layers, network, atol)
        recorded.assert_recorded("final_float32", layers, jax.tree.map(lambda leaf: leaf[-1], network), 1e-5)


def last_glance(name, numbers):
    return numbers[:, -1] if name.startswith("after_glance") else numbers


@pytest.mark.reference
@every_run
def test_the_memory_holds_what_the_recorded_memory_held(file, x64):
    run, states = replayed(file, jnp.float64, plain)
    memory = states.memory
    for n, indices in enumerate(run.numbers["memory_stream_index"]):
        held = indices[indices >= 0]
        np.testing.assert_array_equal(memory.examples.x[n, : len(held)], run.numbers["stream_x"][held])
        np.testing.assert_array_equal(memory.examples.y[n, : len(held)], run.numbers["stream_y"][held])


@eqx.filter_jit
def glance(learner, *arguments):
    return learner.glance(*arguments)


@pytest.mark.reference
@every_run
def test_each_glance_at_the_first_batch_is_that_recorded(file, x64):
    """Weights after each glance, and the outer loss after each inner step; the memory is empty before this batch."""
    run = Recording.read(file)
    numbers = run.numbers
    learner, stream = recorded_learner(run, file), run.stream(jnp.float64)
    start = run.start(learner, run.mlp("init", run.layers(), jnp.float64), jnp.float64)
    now = Weights(start.model, start.rates)
    for n, order in enumerate(numbers["glance_order_stream_index"][0]):
        drawn = numbers["replay_draws_stream_index"][0, n]
        memories = Memories(jax.tree.map(lambda leaf, drawn=drawn: leaf[drawn], stream), jnp.asarray(drawn >= 0))
        batch = jax.tree.map(lambda leaf, order=order: leaf[order], stream)
        now, losses = glance(learner, now, batch, jnp.ones(len(order), bool), memories)
        np.testing.assert_allclose(losses, numbers["meta_losses"][0, n], rtol=0, atol=1e-10)
        recorded = Recording({f"glance_{name}": it[0, n] for name, it in numbers.items() if name.startswith("after_")})
        recorded.assert_recorded("glance_after_glance", run.layers(), now.model, 1e-10)


SIZES: dict[str, Any] = {"memory_size": 6, "replay_batch_size": 3, "batch_size": 4, "glances": 2}
LEARNERS = {
    "la-maml": LaMAML(**SIZES, initial_rate=0.2, rate_learning_rate=0.3),
    "sync": Sync(**SIZES, learning_rate=0.3, initial_rate=0.2, rate_learning_rate=0.3),
    "c-maml": CMAML(**SIZES, learning_rate=0.3, inner_rate=0.2),
}
every_learner = pytest.mark.parametrize("name", LEARNERS)


def example(n, task=0):
    x = np.random.default_rng(n).normal(size=3).astype(np.float32)
    return Example(*map(jnp.asarray, (x, np.int32(n % 4), np.int32(task))))


@functools.cache
def network():
    return MLP(3, 4, (5,), key=KEY)


@jax.jit
def observe(learner, state, example, key):
    return learner.observe(state, example, key)


def learned(learner, n):
    """Return the states before the first example and after each of n."""
    states = [learner.init(network(), example(0), KEY)]
    for number in range(n):
        states.append(observe(learner, states[-1], example(number), jax.random.key(number))[0])
    return states


def assert_close(one, other, rtol=1e-5, atol=1e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), one, other)


def batch_of(numbers):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(example, numbers))


@every_learner
def test_only_the_example_that_completes_a_batch_is_learned_from(name):
    states = learned(LEARNERS[name], 8)
    moved = [
        bool((one.model.layers[0].weight != other.model.layers[0].weight).any())
        for one, other in itertools.pairwise(states)
    ]
    assert moved == [False, False, False, True] * 2
    assert [int(state.memory.seen) for state in states] == [0, 0, 0, 0, 4, 4, 4, 4, 8]


def test_with_inner_steps_of_rate_zero_c_maml_takes_an_sgd_step_on_the_outer_batch():
    learner = dataclasses.replace(LEARNERS["c-maml"], inner_rate=0.0, clip_norm=1e6)
    batch, memories = batch_of(range(4)), Memories(batch_of(range(10, 13)), jnp.asarray([True, True, False]))
    after, losses = glance(learner, Weights(network(), None), batch, jnp.ones(4, bool), memories)
    outer = batch_of([0, 1, 2, 3, 10, 11])
    gradient = weighted_gradient(network(), outer.x, outer.y, jnp.full(6, 1 / 6))
    assert_close(after.model, sgd_step(network(), gradient.grads, 0.3))
    np.testing.assert_allclose(losses, gradient.loss, rtol=1e-6)


def test_without_learning_of_rates_la_maml_and_sync_are_c_maml():
    one_rate = dataclasses.replace(LEARNERS["c-maml"], learning_rate=0.2)
    la_maml = dataclasses.replace(LEARNERS["la-maml"], rate_learning_rate=0.0)
    sync = dataclasses.replace(LEARNERS["sync"], rate_learning_rate=0.0, learning_rate=0.2)
    expected, *others = (learned(it, 8)[-1].model for it in (one_rate, la_maml, sync))
    for other in others:
        assert_close(other, expected)


def test_a_weight_whose_rate_is_not_positive_is_frozen_for_good():
    start = LEARNERS["la-maml"].init(network(), example(0), KEY)
    dead = eqx.tree_at(lambda it: it.layers[0].weight, start.rates, replace_fn=lambda rate: rate.at[0].set(-0.1))
    state = start._replace(rates=dead)
    for n in range(8):
        state, _ = observe(LEARNERS["la-maml"], state, example(n), jax.random.key(n))
    before, after = (it.layers[0].weight for it in (network(), state.model))
    np.testing.assert_array_equal(state.rates.layers[0].weight[0], np.float32(-0.1))
    np.testing.assert_array_equal(after[0], before[0])
    assert (after[1:] != before[1:]).any()


def test_later_glances_can_draw_the_batch_from_the_memory_and_the_first_cannot():
    learner = LEARNERS["c-maml"]
    empty, whole = learned(learner, 0)[0].memory, jnp.ones(4, bool)
    ready = Ready(batch_of(range(4)), whole, jnp.asarray(True))
    memory, memories = offer(empty, ready, learner.draw(empty, None, whole, KEY))
    assert memories.mask.tolist() == [[False] * 3, [True] * 3]
    assert int(memory.seen) == 4
    held = set(np.asarray(memories.examples.y)[1].tolist())
    assert held <= {0, 1, 2, 3}


def test_each_glance_has_an_order_of_its_own_and_every_example_once():
    learner = dataclasses.replace(LEARNERS["c-maml"], batch_size=8)
    orders = learner.draw(learned(learner, 0)[0].memory, None, jnp.ones(8, bool), KEY)
    np.testing.assert_array_equal(np.sort(orders.order, axis=1), [list(range(8))] * 2)
    assert (orders.order[0] != orders.order[1]).any()


def test_a_short_batch_of_a_task_is_divided_into_chunks_of_equal_size_but_the_last():
    places, counts = chunks(jnp.arange(10) < 7, 3)
    assert [row[count].tolist() for row, count in zip(places, counts, strict=True)] == [[0, 1, 2], [3, 4, 5], [6]]
    places, counts = chunks(jnp.arange(10) < 1, 3)
    assert [row[count].tolist() for row, count in zip(places, counts, strict=True)] == [[0], [], []]


TASKS = {**SIZES, "inner_steps": 2, "learning_rate": 0.3, "inner_rate": 0.2}


def test_a_change_of_task_has_a_short_batch_learned_and_keeps_the_memory_of_the_task():
    learner = TaskIncrementalCMAML(**TASKS, old_task_memory=True)
    state = learner.init(network(), example(0), KEY)
    seen, old = [], []
    for n, task in enumerate([0] * 6 + [1] * 5):
        state, _ = observe(learner, state, example(n, task), jax.random.key(n))
        seen.append(int(state.memory.seen))
        old.append(int(state.old.seen))
    assert seen == [0, 0, 0, 4, 4, 4, 6, 6, 6, 10, 10]
    assert old == [0] * 6 + [6] * 5


def test_an_old_memory_is_drawn_from_once_there_is_one():
    learner = TaskIncrementalCMAML(**TASKS, old_task_memory=True)
    state = learner.init(network(), example(0), KEY)
    for n, task in enumerate([0] * 4 + [1]):
        state, _ = observe(learner, state, example(n, task), jax.random.key(n))
    others = jax.tree.map(lambda leaf: leaf + 1 if leaf.dtype == jnp.float32 else leaf, state)
    with_other_old = state._replace(old=others.old)
    with_other_live = state._replace(memory=others.memory)
    for n in range(5, 8):
        state, with_other_old, with_other_live = (
            observe(learner, it, example(n, 1), jax.random.key(n))[0] for it in (state, with_other_old, with_other_live)
        )
    expected, old, live = (it.model.layers[0].weight for it in (state, with_other_old, with_other_live))
    assert (old != expected).any()
    np.testing.assert_array_equal(live, expected)
