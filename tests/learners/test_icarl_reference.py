"""iCaRL with the reduced ResNet-18 against the recorded run of the released code, draw for draw."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import Example, StreamInfo
from perdure.learners.icarl import ICaRL
from perdure.memory.exemplars import plan_exemplars
from tests.conftest import recorded_tensors

pytestmark = [pytest.mark.reference, pytest.mark.long]

QUICKLY_COMPILED = {"xla_llvm_disable_expensive_passes": True}
"""The programs run for a second and compile for a minute otherwise."""


@pytest.fixture(scope="module")
def learner(icarl_run):
    numbers = icarl_run.numbers
    task_sizes = tuple(np.bincount(numbers["stream_task"]).tolist())
    assert set(task_sizes) == {int(numbers["hp_samples_per_task"])}, "exemplars are chosen at each task's end"
    class_tasks = tuple(np.repeat(np.arange(len(task_sizes)), numbers["n_classes_per_task"]).tolist())
    return ICaRL(
        float(numbers["hp_lr"]),
        int(numbers["hp_n_memories"]),
        float(numbers["hp_memory_strength"]),
        int(numbers["hp_batch_size"]),
        stream_info=StreamInfo(len(class_tasks), len(task_sizes), task_sizes, class_tasks),
    )


@pytest.fixture(scope="module")
def states(icarl_run, learner):
    """The states after each example, leaves (N, ...)."""
    with jax.enable_x64(True):
        numbers = icarl_run.numbers
        y, task = (jnp.asarray(numbers[name], jnp.int32) for name in ("stream_y", "stream_task"))
        stream = Example(icarl_run.images(numbers["stream_x_uint8"], jnp.float64), y, task)
        of_batch = np.maximum(numbers["distill_draws"].reshape(len(numbers["batch_end"]), -1), 0)
        drawn = of_batch.repeat(numbers["batch_end"] - numbers["batch_start"], axis=0)
        model = icarl_run.model("init", jnp.float64)
        start = learner.init(model, jax.tree.map(lambda leaf: leaf[0], stream), jax.random.key(0))

        def observe(state, step):
            state, _ = learner.observe_with(state, *step)
            return state, state

        steps = (stream, jnp.asarray(drawn, jnp.int32))
        along = jax.jit(lambda start: jax.lax.scan(observe, start, steps)[1], compiler_options=QUICKLY_COMPILED)
        return jax.tree.map(np.asarray, along(start))


def after_batch(numbers, states, batch):
    return jax.tree.map(lambda leaf: leaf[numbers["batch_end"][batch] - 1], states)


def after_task(numbers, states, task):
    return after_batch(numbers, states, np.flatnonzero(numbers["batch_task"] == task)[-1])


def test_tensors_after_every_batch(icarl_run, states):
    """Sums and norms of all weights and running statistics; those of a task's last batch are after its herding."""
    numbers = icarl_run.numbers
    for batch in range(len(numbers["batch_start"])):
        tensors = recorded_tensors(after_batch(numbers, states, batch).model)
        for n, name in enumerate(numbers["tensor_names"]):
            if not name.endswith("num_batches_tracked"):
                recorded = numbers["tensor_sum_after_batch"][batch, n], numbers["tensor_l2norm_after_batch"][batch, n]
                mine = tensors[name].sum(), np.linalg.norm(tensors[name])
                np.testing.assert_allclose(mine, recorded, rtol=0, atol=1e-9, err_msg=f"{name}, batch {batch}")


def test_every_number_of_every_tensor(icarl_run, states):
    numbers = icarl_run.numbers
    moments = {"after_batch0": after_batch(numbers, states, 0)}
    for task in range(int(numbers["n_tasks"])):
        moments[f"after_task{task}"] = after_task(numbers, states, task)
    for moment, state in moments.items():
        for name, tensor in recorded_tensors(state.model).items():
            recorded = numbers[f"{moment}.{name}"]
            np.testing.assert_allclose(tensor, recorded, rtol=0, atol=1e-9, err_msg=f"{name}, {moment}")


def test_exemplars_and_the_outputs_stored_for_them(icarl_run, learner, states):
    numbers = icarl_run.numbers
    plan = plan_exemplars(learner.stream_info.class_tasks, learner.stream_info.task_sizes, learner.memory_size)
    for task, exemplars in enumerate(numbers["exemplar_stream_index_after_task"]):
        memory = after_task(numbers, states, task).exemplars
        for label, indices in enumerate(exemplars):
            indices = indices[indices >= 0]
            assert memory.held[label] == len(indices)
            slots = plan.starts[label] + np.arange(len(indices))
            expected = icarl_run.images(numbers["stream_x_uint8"][indices], float)
            np.testing.assert_array_equal(memory.x[slots], expected)
            if len(indices):
                outputs = numbers[f"distill_logits_after_task{task}_class{label}"]
                np.testing.assert_allclose(memory.outputs[slots], outputs, rtol=0, atol=1e-9)


def test_predictions(icarl_run, learner, states, x64):
    numbers = icarl_run.numbers
    n_tasks, n_test = numbers["test_y"].shape
    x = icarl_run.images(numbers["test_x_uint8"], jnp.float64)
    task = jnp.repeat(jnp.arange(n_tasks), n_test)
    predict = jax.jit(learner.predict, compiler_options=QUICKLY_COMPILED)
    untrained = jax.tree.map(lambda leaf: leaf[0], states)  # no exemplars yet
    outputs = np.asarray(predict(untrained, x, task)).reshape(n_tasks, n_test, -1)
    np.testing.assert_allclose(outputs, numbers["test_output_before_training"], rtol=1e-12)
    for moment, recorded in enumerate(numbers["test_predictions"]):
        state = untrained if moment == 0 else after_task(numbers, states, moment - 1)
        labels = np.asarray(predict(state, x, task)).argmax(axis=1)
        np.testing.assert_array_equal(labels.reshape(n_tasks, n_test), recorded)
