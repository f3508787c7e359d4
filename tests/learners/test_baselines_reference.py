"""Baselines that draw nothing, against recorded runs of the released code: weights and memories after each example."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from perdure.learners.ewc import EWC
from perdure.learners.gem import GEM, past_gradients
from perdure.learners.independent import Independent, IndependentState
from perdure.learners.task_input import TaskInput, TaskInputState
from perdure.models import MLP
from perdure.updates.gradient import example_gradient
from perdure.updates.losses import cross_entropy

LAYERS = ("{}0", "{}1", "{}2")
GEM_RUNS = ("gem_margin0", "gem_margin05")

both_precisions = pytest.mark.parametrize(
    ("dtype", "atol"), [(jnp.float64, 1e-9), (jnp.float32, 1e-5)], ids=["float64", "float32"]
)


def ewc(run):
    numbers = run.numbers
    return EWC(float(numbers["hp_lr"]), int(numbers["hp_n_memories"]), float(numbers["hp_memory_strength"]))


def gem(run):
    numbers = run.numbers
    memory_size = int(numbers["hp_n_memories"] * numbers["n_tasks"])
    margin = float(numbers["hp_memory_strength"])
    return GEM(float(numbers["hp_lr"]), memory_size, margin=margin, stream_info=run.stream_info())


@functools.cache
def learned(recording, name, dtype):
    """Return a recording of EWC or GEM, and our states after each of its examples."""
    run = recording(name)
    learner = ewc(run) if name == "ewc" else gem(run)
    return run, run.learn(learner, run.start(learner, run.mlp("init", LAYERS, dtype), dtype), dtype)


@pytest.mark.parametrize("name", ["ewc", *GEM_RUNS])
@both_precisions
def test_ewc_and_gem(recording, name, dtype, atol):
    with jax.enable_x64(dtype is jnp.float64):
        run, states = learned(recording, name, dtype)
        run.assert_recorded("after", LAYERS, states.model, atol)
        run.assert_recorded("final_float32", LAYERS, at(states.model, -1), 1e-5)


def test_ewc_keeps_what_the_recorded_memory_kept(recording, x64):
    run, states = learned(recording, "ewc", jnp.float64)
    for n, indices in enumerate(run.numbers["memory_stream_index"]):
        held = indices[indices >= 0]
        memory = at(states.memory, n)
        assert min(memory.seen, len(indices)) == len(held)
        np.testing.assert_array_equal(memory.examples.x[: len(held)], run.numbers["stream_x"][held])
        np.testing.assert_array_equal(memory.examples.y[: len(held)], run.numbers["stream_y"][held])


@pytest.mark.parametrize("n_past", [0, 1, 2])
def test_ewc_sums_the_recorded_fisher_information_and_anchors(recording, n_past, x64):
    run, states = learned(recording, "ewc", jnp.float64)
    stiffness = jax.tree.map(jnp.zeros_like, run.mlp("init", LAYERS, jnp.float64))
    pull = stiffness
    for task in range(n_past):
        fisher, anchor = (run.mlp(f"{kind}_task{task}", LAYERS, jnp.float64) for kind in ("fisher", "anchor"))
        stiffness = jax.tree.map(jnp.add, stiffness, fisher)
        pull = jax.tree.map(lambda pull, f, weight: pull + f * weight, pull, fisher, anchor)
    for n in (30 * n_past, 30 * n_past + 29):  # the first and the last example of the task after them
        for mine, recorded in zip(at(states.consolidation, n), (stiffness, pull), strict=True):
            np.testing.assert_allclose(flat(mine), flat(recorded), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", GEM_RUNS)
def test_gem_holds_what_the_recorded_memory_held(recording, name, x64):
    """The recorded rings go on where the last task's stopped, so that only what they hold is the same, not where."""
    run, states = learned(recording, name, jnp.float64)
    x, y = (states.memory.examples[part] for part in (0, 1))
    for n, rings in enumerate(run.numbers["memory_stream_index"]):
        for task, indices in enumerate(rings):
            held = indices[indices >= 0]
            assert min(states.memory.seen[n, task], len(indices)) == len(held)
            mine = examples_of(x[n, task, : len(held)], y[n, task, : len(held)])
            assert mine == examples_of(run.numbers["stream_x"][held], run.numbers["stream_y"][held])


def examples_of(x, y):
    return {(*inputs, label) for inputs, label in zip(x.tolist(), y.tolist(), strict=True)}


@pytest.mark.parametrize("name", GEM_RUNS)
def test_gem_projects_at_the_recorded_steps_from_the_recorded_gradients(recording, name, x64):
    run, states = learned(recording, name, jnp.float64)
    numbers, stream = run.numbers, run.stream(jnp.float64)
    before = jax.tree.map(
        lambda start, after: np.concatenate([start[None], after[:-1]]),
        run.mlp("init", LAYERS, jnp.float64),
        states.model,
    )
    past, now = jax.jit(jax.vmap(gradients))(before, states.memory, stream)
    products = np.einsum("ntp,np->nt", past, now)
    known = np.isfinite(numbers["dot_products"])
    np.testing.assert_array_equal(known.sum(axis=1), stream.task)
    np.testing.assert_allclose(products[known], numbers["dot_products"][known], rtol=0, atol=1e-9)
    np.testing.assert_array_equal((products < 0).any(axis=1), numbers["projected"])

    detailed = numbers["example_steps"]
    columns = np.nan_to_num(numbers["example_memory_gradients"])  # NaN for tasks to come, zero here
    np.testing.assert_allclose(now[detailed], numbers["example_gradient_before"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(past[detailed], columns.transpose(0, 2, 1), rtol=0, atol=1e-9)
    steps = np.asarray(jax.vmap(flat)(before)) - np.asarray(jax.vmap(flat)(states.model))
    after = numbers["hp_lr"] * numbers["example_gradient_after"]
    np.testing.assert_allclose(steps[detailed], after, rtol=0, atol=1e-9)


def gradients(model, memory, example):
    """Return the gradients on two past tasks' memories and on the example."""
    past = past_gradients(model, memory, example.task, 2, cross_entropy)
    return past, flat(example_gradient(model, example.x, example.y).grads)


def flat(tree):
    return ravel_pytree(tree)[0]


@pytest.mark.parametrize("name", ["independent_finetune", "independent_scratch"])
@both_precisions
def test_independent(recording, name, dtype, atol):
    with jax.enable_x64(dtype is jnp.float64):
        run = recording(name)
        rate, from_previous = float(run.numbers["hp_lr"]), bool(run.numbers["hp_finetune"])
        learner = Independent(rate, from_previous=from_previous, stream_info=run.stream_info())
        layers = [[f"task{task}_{layer}" for layer in LAYERS] for task in range(3)]
        start = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(run.mlp("init", names, dtype) for names in layers))
        states = run.learn(learner, IndependentState(start, jnp.array(-1, jnp.int32)), dtype)
        for task, names in enumerate(layers):
            mine = jax.tree.map(lambda leaf, task=task: leaf[:, task], states.model)
            run.assert_recorded("after", names, mine, atol)
            run.assert_recorded("final_float32", names, at(mine, -1), 1e-5)


def test_independent_divides_the_units_as_recorded(recording):
    run = recording("independent_scratch")
    wide = int(run.numbers["hp_n_hiddens"])
    state = run.start(
        Independent(0.1, stream_info=run.stream_info()), MLP(12, 5, (wide, wide), key=jax.random.key(0)), jnp.float32
    )
    recorded = run.mlp("init", [f"task0_{layer}" for layer in LAYERS], jnp.float32)
    shapes = [leaf.shape for leaf in jax.tree.leaves(recorded)]
    assert [leaf.shape for leaf in jax.tree.leaves(state.model)] == [(3, *shape) for shape in shapes]


@pytest.mark.parametrize("name", ["taskinput", "taskinput_deep"])
@both_precisions
def test_task_input(recording, name, dtype, atol):
    with jax.enable_x64(dtype is jnp.float64):
        run = recording(name)
        shared = [*(f"hidden{n}_{{}}" for n in range(int(run.numbers["hp_n_layers"]))), "output_{}"]
        layers = [[f"input_task{task}_{{}}", *shared] for task in range(3)]
        perceptrons = [run.mlp("init", names, dtype) for names in layers]
        learner = TaskInput(float(run.numbers["hp_lr"]), stream_info=run.stream_info())
        start = run.start(learner, perceptrons[0], dtype).model
        for task, perceptron in enumerate(perceptrons):
            start = start.updated(jnp.asarray(task), perceptron)
        states = run.learn(learner, TaskInputState(start), dtype)
        for task, names in enumerate(layers):
            mine = jax.vmap(lambda network, task=task: network.of_task(jnp.asarray(task)))(states.model)
            run.assert_recorded("after", names, mine, atol)
            run.assert_recorded("final_float32", names, at(mine, -1), 1e-5)


def at(tree, n):
    return jax.tree.map(lambda leaf: leaf[n], tree)
