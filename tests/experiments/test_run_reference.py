"""A run of the released program, from its stream to its accuracies."""

import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import perdure.experiments.supervised.run as running
from perdure.learners.online import Online
from perdure.models import MLP
from perdure.streams.arrays import from_arrays
from tests.conftest import reference_files

pytestmark = [
    pytest.mark.reference,
    pytest.mark.parametrize("file", reference_files("mer", "protocol*.npz")),
]


def load(file):
    with np.load(file) as recording:
        return dict(recording)


def recorded_weights(recording, moment):
    """Return weights and biases, layer after layer."""
    names = (f"{moment}_{kind}{n}" for n in itertools.count() for kind in ("weight", "bias"))
    return [recording[name] for name in itertools.takewhile(recording.__contains__, names)]


def recorded_benchmark(recording, n_test, dtype):
    """Return the tasks, of whose test sets the first `n_test` examples count."""
    chosen = [recording["order_index"][recording["order_task"] == task] for task in range(len(recording["train_x"]))]
    train = [(recording["train_x"][t, i].astype(dtype), recording["train_y"][t, i]) for t, i in enumerate(chosen)]
    test = [
        (x[:n_test].astype(dtype), y[:n_test]) for x, y in zip(recording["test_x"], recording["test_y"], strict=True)
    ]
    return from_arrays(train, test, n_outputs=len(recorded_weights(recording, "init")[-1]))


def recorded_mlp(recording, dtype, example, n_outputs, key):
    leaves = [jnp.asarray(leaf, dtype) for leaf in recorded_weights(recording, "init")]
    hidden = [len(bias) for bias in leaves[1:-1:2]]
    network = MLP(leaves[0].shape[1], n_outputs, hidden, key=key)
    return eqx.tree_at(lambda it: [leaf for layer in it.layers for leaf in (layer.weight, layer.bias)], network, leaves)


def run_recorded(recording, n_test, dtype):
    model = functools.partial(recorded_mlp, recording, dtype)
    learner = Online(learning_rate=float(recording["hp_lr"]))
    stream = recorded_benchmark(recording, n_test, dtype)
    return running.run(learner, stream, model=model, evaluation="full", progress=False), stream


@pytest.mark.parametrize(("dtype", "atol"), [(np.float64, 1e-10), (np.float32, 1e-5)], ids=["64", "32"])
def test_released_program_is_reproduced(file, dtype, atol, numpy_accuracy):
    recording = load(file)
    np.testing.assert_array_equal(np.diff(recording["order_task"]) >= 0, True)
    with jax.enable_x64(dtype is np.float64):
        result, stream = run_recorded(recording, recording["test_y"].shape[1], dtype)
        final = recorded_weights(recording, "final")
        for layer, weight, bias in zip(result.states.model.layers, final[::2], final[1::2], strict=True):
            np.testing.assert_allclose(layer.weight[0], weight, rtol=0, atol=atol)
            np.testing.assert_allclose(layer.bias[0], bias, rtol=0, atol=atol)
        expected = [numpy_accuracy(result.states.model, 0, test) for test in stream.test]
        np.testing.assert_allclose(result.accuracy[0, -1], expected, rtol=0, atol=1e-12)


def test_released_programs_accuracies_are_reproduced(file, x64):
    """Its evaluator passes over the last of n test images, unless there is but one, and divides by n."""
    recording = load(file)
    n_tasks, n_test = recording["test_y"].shape
    share = max(n_test - 1, 1) / n_test
    result, _ = run_recorded(recording, max(n_test - 1, 1), np.float64)
    rows = [0, *(np.flatnonzero(recording["result_t"] == task)[-1] for task in range(n_tasks))]
    np.testing.assert_allclose(share * result.accuracy[0], recording["result_a"][rows], rtol=0, atol=1e-9)
    for ours, theirs in {
        "retained_accuracy": "final_accuracy",
        "backward_transfer": "backward",
        "forward_transfer": "forward",
    }.items():
        np.testing.assert_allclose(share * result.metrics[ours].mean, recording[theirs], rtol=0, atol=1e-9)
