"""iCaRL with the reduced ResNet-18 against the recorded run of the released code, draw for draw."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import Example, StreamInfo
from perdure.learners.icarl import ICaRL
from perdure.memory import plan_exemplars

pytestmark = pytest.mark.long

CLASS_TASKS = (0, 0, 1, 1, 2, 2)
N_TASKS, PER_TASK, BATCH = 3, 16, 4
QUICKLY_COMPILED = {"xla_llvm_disable_expensive_passes": True}
"""The programs run for a second and compile for a minute otherwise."""


@pytest.fixture(scope="module")
def learner(icarl_run):
    numbers = icarl_run.numbers
    assert (numbers["hp_samples_per_task"], numbers["hp_batch_size"]) == (PER_TASK, BATCH)
    return ICaRL(
        float(numbers["hp_lr"]),
        int(numbers["hp_n_memories"]),
        float(numbers["hp_memory_strength"]),
        BATCH,
        stream_info=StreamInfo(len(CLASS_TASKS), N_TASKS, (PER_TASK,) * N_TASKS, CLASS_TASKS),
    )


@pytest.fixture(scope="module")
def states(icarl_run, learner):
    """The states after each example, leaves (N, ...)."""
    with jax.enable_x64(True):
        numbers = icarl_run.numbers
        y, task = (jnp.asarray(numbers[name], jnp.int32) for name in ("stream_y", "stream_task"))
        stream = Example(images(numbers["stream_x_uint8"]), y, task)
        drawn = np.maximum(numbers["distill_draws"].reshape(-1, len(CLASS_TASKS)), 0).repeat(BATCH, axis=0)
        model = icarl_run.model("init", jnp.float64)
        start = learner.init(model, jax.tree.map(lambda leaf: leaf[0], stream), jax.random.key(0))

        def observe(state, step):
            state, _ = learner.observe_with(state, *step)
            return state, state

        steps = (stream, jnp.asarray(drawn, jnp.int32))
        along = jax.jit(lambda start: jax.lax.scan(observe, start, steps)[1], compiler_options=QUICKLY_COMPILED)
        return jax.tree.map(np.asarray, along(start))


def images(pixels):
    return jnp.asarray(pixels.reshape(-1, 3, 32, 32) / 256)


def after_batch(states, batch):
    return jax.tree.map(lambda leaf: leaf[(batch + 1) * BATCH - 1], states)


def after_task(states, task):
    return jax.tree.map(lambda leaf: leaf[(task + 1) * PER_TASK - 1], states)


def test_tensors_after_every_batch(icarl_run, states):
    """Sums and norms of all weights and running statistics; those of a task's last batch are after its herding."""
    numbers = icarl_run.numbers
    for batch in range(len(numbers["batch_start"])):
        tensors = icarl_run.tensors(after_batch(states, batch).model)
        for n, name in enumerate(numbers["tensor_names"]):
            if not name.endswith("num_batches_tracked"):
                recorded = numbers["tensor_sum_after_batch"][batch, n], numbers["tensor_l2norm_after_batch"][batch, n]
                mine = tensors[name].sum(), np.linalg.norm(tensors[name])
                np.testing.assert_allclose(mine, recorded, rtol=0, atol=1e-9, err_msg=f"{name}, batch {batch}")


@pytest.mark.parametrize("moment", ["after_batch0", "after_task0", "after_task1", "after_task2"])
def test_every_number_of_every_tensor(icarl_run, states, moment):
    state = after_batch(states, 0) if moment == "after_batch0" else after_task(states, int(moment[-1]))
    for name, tensor in icarl_run.tensors(state.model).items():
        np.testing.assert_allclose(tensor, icarl_run.numbers[f"{moment}.{name}"], rtol=0, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("task", range(N_TASKS))
def test_exemplars_and_the_outputs_stored_for_them(icarl_run, learner, states, task):
    numbers, memory = icarl_run.numbers, after_task(states, task).exemplars
    plan = plan_exemplars(CLASS_TASKS, learner.stream_info.task_sizes, learner.memory_size)
    for label, indices in enumerate(numbers["exemplar_stream_index_after_task"][task]):
        indices = indices[indices >= 0]
        assert memory.held[label] == len(indices)
        slots = plan.starts[label] + np.arange(len(indices))
        expected = numbers["stream_x_uint8"][indices].reshape(-1, 3, 32, 32) / 256
        np.testing.assert_array_equal(memory.x[slots], expected)
        if len(indices):
            outputs = numbers[f"distill_logits_after_task{task}_class{label}"]
            np.testing.assert_allclose(memory.outputs[slots], outputs, rtol=0, atol=1e-9)


def test_predictions(icarl_run, learner, states, x64):
    numbers = icarl_run.numbers
    x = images(numbers["test_x_uint8"])
    task = jnp.repeat(jnp.arange(N_TASKS), 4)
    predict = jax.jit(learner.predict, compiler_options=QUICKLY_COMPILED)
    untrained = jax.tree.map(lambda leaf: leaf[0], states)  # no exemplars yet
    outputs = np.asarray(predict(untrained, x, task)).reshape(N_TASKS, 4, -1)
    np.testing.assert_allclose(outputs, numbers["test_output_before_training"], rtol=1e-12)
    for moment, recorded in enumerate(numbers["test_predictions"]):
        state = untrained if moment == 0 else after_task(states, moment - 1)
        labels = np.asarray(predict(state, x, task)).argmax(axis=1)
        np.testing.assert_array_equal(labels.reshape(N_TASKS, 4), recorded)
