"""A run of the released program, from its stream to its accuracies."""

import functools
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import perdure.experiments.supervised.run as running
from perdure.learners.online import Online
from perdure.models import MLP
from perdure.streams.arrays import from_arrays

PROTOCOL = Path(__file__).parents[1] / "reference" / "mer" / "protocol.npz"


def load_protocol():
    with np.load(PROTOCOL) as file:
        return dict(file)


def recorded_benchmark(recording, n_test, dtype):
    chosen = [recording["order_index"][recording["order_task"] == task] for task in range(3)]
    train = [(recording["train_x"][t, i].astype(dtype), recording["train_y"][t, i]) for t, i in enumerate(chosen)]
    test = [
        (x[:n_test].astype(dtype), y[:n_test]) for x, y in zip(recording["test_x"], recording["test_y"], strict=True)
    ]
    return from_arrays(train, test, n_outputs=5)


def recorded_mlp(recording, dtype, example, n_outputs, key):
    def weights(model):
        return [leaf for layer in model.layers for leaf in (layer.weight, layer.bias)]

    names = [f"init_{kind}{n}" for n in range(3) for kind in ("weight", "bias")]
    recorded = [jnp.asarray(recording[name], dtype) for name in names]
    return eqx.tree_at(weights, MLP(12, 5, (8, 8), key=key), recorded)


def run_recorded(recording, n_test, dtype):
    model = functools.partial(recorded_mlp, recording, dtype)
    learner = Online(learning_rate=float(recording["hp_lr"]))
    stream = recorded_benchmark(recording, n_test, dtype)
    return running.run(learner, stream, model=model, evaluation="full", progress=False), stream


@pytest.mark.parametrize(("dtype", "atol"), [(np.float64, 1e-10), (np.float32, 1e-5)], ids=["64", "32"])
def test_released_program_is_reproduced(dtype, atol, numpy_accuracy):
    recording = load_protocol()
    np.testing.assert_array_equal(np.diff(recording["order_task"]) >= 0, True)
    with jax.enable_x64(dtype is np.float64):
        result, stream = run_recorded(recording, 11, dtype)
        for n, layer in enumerate(result.states.model.layers):
            np.testing.assert_allclose(layer.weight[0], recording[f"final_weight{n}"], rtol=0, atol=atol)
            np.testing.assert_allclose(layer.bias[0], recording[f"final_bias{n}"], rtol=0, atol=atol)
        expected = [numpy_accuracy(result.states.model, 0, test) for test in stream.test]
        np.testing.assert_allclose(result.accuracy[0, -1], expected, rtol=0, atol=1e-12)


def test_released_programs_accuracies_are_reproduced():
    """Its evaluator passes over the last of the 11 test images and divides by 11."""
    recording = load_protocol()
    result, _ = run_recorded(recording, 10, np.float32)
    rows = [0, *(np.flatnonzero(recording["result_t"] == task)[-1] for task in range(3))]
    np.testing.assert_allclose(10 * result.accuracy[0], 11 * recording["result_a"][rows], rtol=0, atol=1e-9)
    for ours, theirs in {
        "retained_accuracy": "final_accuracy",
        "backward_transfer": "backward",
        "forward_transfer": "forward",
    }.items():
        np.testing.assert_allclose(10 * result.metrics[ours].mean, 11 * recording[theirs], rtol=0, atol=1e-9)
