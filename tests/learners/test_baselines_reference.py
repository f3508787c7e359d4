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
from tests.conftest import reference_files
from tests.learners.conftest import Recording

pytestmark = pytest.mark.reference

EWC_RUNS = reference_files("mer", "ewc*.npz")
GEM_RUNS = reference_files("mer", "gem_margin*.npz")
INDEPENDENT_RUNS = reference_files("mer", "independent*.npz")

both_precisions = pytest.mark.parametrize(
    ("dtype", "atol"), [(jnp.float64, 1e-9), (jnp.float32, 1e-5)], ids=["float64", "float32"]
)


def ewc(run):
    return EWC(run.hp("lr"), run.hp("n_memories"), run.hp("memory_strength"))


def gem(run):
    memory_size = run.hp("n_memories") * run.n_tasks
    return GEM(run.hp("lr"), memory_size, margin=run.hp("memory_strength"), stream_info=run.stream_info())


@functools.cache
def learned(file, dtype):
    """Return a recording of EWC or GEM, and our states after each of its examples."""
    run = Recording.read(file)
    learner = ewc(run) if file in EWC_RUNS else gem(run)
    return run, run.learn(learner, run.start(learner, run.mlp("init", run.layers(), dtype), dtype), dtype)


@pytest.mark.parametrize("file", EWC_RUNS + GEM_RUNS)
@both_precisions
def test_ewc_and_gem(file, dtype, atol):
    with jax.enable_x64(dtype is jnp.float64):
        run, states = learned(file, dtype)
        run.assert_recorded("after", run.layers(), states.model, atol)
        run.assert_recorded("final_float32", run.layers(), at(states.model, -1), 1e-5)


@pytest.mark.parametrize("file", EWC_RUNS)
def test_ewc_keeps_what_the_recorded_memory_kept(file, x64):
    run, states = learned(file, jnp.float64)
    for n, indices in enumerate(run.numbers["memory_stream_index"]):
        held = indices[indices >= 0]
        memory = at(states.memory, n)
        assert min(memory.seen, len(indices)) == len(held)
        np.testing.assert_array_equal(memory.examples.x[: len(held)], run.numbers["stream_x"][held])
        np.testing.assert_array_equal(memory.examples.y[: len(held)], run.numbers["stream_y"][held])


@pytest.mark.parametrize("file", EWC_RUNS)
def test_ewc_sums_the_recorded_fisher_information_and_anchors(file, x64):
    run, states = learned(file, jnp.float64)
    stiffness = jax.tree.map(jnp.zeros_like, run.mlp("init", run.layers(), jnp.float64))
    pull = stiffness
    for n_past in range(run.n_tasks):
        examples = np.flatnonzero(run.numbers["stream_task"] == n_past)
        for n in examples[[0, -1]]:
            for mine, recorded in zip(at(states.consolidation, n), (stiffness, pull), strict=True):
                np.testing.assert_allclose(flat(mine), flat(recorded), rtol=0, atol=1e-9)
        if n_past + 1 < run.n_tasks:
            fisher, anchor = (
                run.mlp(f"{kind}_task{n_past}", run.layers(), jnp.float64) for kind in ("fisher", "anchor")
            )
            stiffness = jax.tree.map(jnp.add, stiffness, fisher)
            pull = jax.tree.map(lambda pull, f, weight: pull + f * weight, pull, fisher, anchor)


@pytest.mark.parametrize("file", GEM_RUNS)
def test_gem_holds_what_the_recorded_memory_held(file, x64):
    """The recorded rings resume where the last task's stopped, so that only what they hold is the same, not where."""
    run, states = learned(file, jnp.float64)
    x, y = (states.memory.examples[part] for part in (0, 1))
    for n, rings in enumerate(run.numbers["memory_stream_index"]):
        for task, indices in enumerate(rings):
            held = indices[indices >= 0]
            assert min(states.memory.seen[n, task], len(indices)) == len(held)
            mine = examples_of(x[n, task, : len(held)], y[n, task, : len(held)])
            assert mine == examples_of(run.numbers["stream_x"][held], run.numbers["stream_y"][held])


def examples_of(x, y):
    return {(*inputs, label) for inputs, label in zip(x.tolist(), y.tolist(), strict=True)}


@pytest.mark.parametrize("file", GEM_RUNS)
def test_gem_projects_at_the_recorded_steps_from_the_recorded_gradients(file, x64):
    run, states = learned(file, jnp.float64)
    numbers, stream = run.numbers, run.stream(jnp.float64)
    before = jax.tree.map(
        lambda start, after: np.concatenate([start[None], after[:-1]]),
        run.mlp("init", run.layers(), jnp.float64),
        states.model,
    )
    past, now = jax.jit(jax.vmap(functools.partial(gradients, run.n_tasks - 1)))(before, states.memory, stream)
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
    after = run.hp("lr") * numbers["example_gradient_after"]
    np.testing.assert_allclose(steps[detailed], after, rtol=0, atol=1e-9)


def gradients(n_past, model, memory, example):
    """Return the gradients on the memories of the first `n_past` tasks, zero for tasks to come, and on the example."""
    past = past_gradients(model, memory, example.task, n_past, cross_entropy)
    return past, flat(example_gradient(model, example.x, example.y).grads)


def flat(tree):
    return ravel_pytree(tree)[0]


@pytest.mark.parametrize("file", INDEPENDENT_RUNS)
@both_precisions
def test_independent(file, dtype, atol):
    with jax.enable_x64(dtype is jnp.float64):
        run = Recording.read(file)
        learner = Independent(run.hp("lr"), from_previous=run.hp("finetune"), stream_info=run.stream_info())
        layers = [run.layers(f"task{task}_") for task in range(run.n_tasks)]
        start = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(run.mlp("init", names, dtype) for names in layers))
        begun = IndependentState(start, jnp.array(-1, jnp.int32), jnp.zeros(run.n_tasks, bool))
        states = run.learn(learner, begun, dtype)
        for task, names in enumerate(layers):
            mine = jax.tree.map(lambda leaf, task=task: leaf[:, task], states.model)
            run.assert_recorded("after", names, mine, atol)
            run.assert_recorded("final_float32", names, at(mine, -1), 1e-5)


@pytest.mark.parametrize("file", INDEPENDENT_RUNS)
def test_independent_divides_the_units_as_recorded(file):
    run = Recording.read(file)
    recorded = run.mlp("init", run.layers("task0_"), jnp.float32)
    hidden = [run.hp("n_hiddens")] * (len(recorded.layers) - 1)
    n_inputs, n_outputs = int(run.numbers["n_inputs"]), int(run.numbers["n_outputs"])
    undivided = MLP(n_inputs, n_outputs, hidden, key=jax.random.key(0))
    state = run.start(Independent(run.hp("lr"), stream_info=run.stream_info()), undivided, jnp.float32)
    shapes = [(run.n_tasks, *leaf.shape) for leaf in jax.tree.leaves(recorded)]
    assert [leaf.shape for leaf in jax.tree.leaves(state.model)] == shapes


@pytest.mark.parametrize("file", reference_files("mer", "taskinput*.npz"))
@both_precisions
def test_task_input(file, dtype, atol):
    with jax.enable_x64(dtype is jnp.float64):
        run = Recording.read(file)
        shared = [*(f"hidden{n}_{{}}" for n in range(run.hp("n_layers"))), "output_{}"]
        layers = [[f"input_task{task}_{{}}", *shared] for task in range(run.n_tasks)]
        perceptrons = [run.mlp("init", names, dtype) for names in layers]
        learner = TaskInput(run.hp("lr"), stream_info=run.stream_info())
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
