"""Learning online on fixed features, against recorded runs of the released evaluation, in float64."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from perdure.models import MLP
from perdure.records.evaluation import SineResult
from perdure.representation.online import learn_online
from perdure.representation.score import score
from perdure.representation.sine_protocol import errors_after_each
from perdure.updates.losses import cross_entropy, mean_squared_error


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


def head_of(recording, prefix):
    names = [str(name) for name in recording["param_names"][recording["param_adapted"]]]
    arrays = [jnp.asarray(recording[f"{prefix}.{name}"]) for name in names]
    weights, biases = arrays[::2], arrays[1::2]
    sizes = [weights[0].shape[1], *(len(bias) for bias in biases)]
    head = MLP(sizes[0], sizes[-1], sizes[1:-1], key=jax.random.key(0))
    return eqx.tree_at(lambda it: [leaf for layer in it.layers for leaf in (layer.weight, layer.bias)], head, arrays)


@pytest.mark.parametrize("name", ["eval_head_adam", "eval_head_sgd", "eval_two_linear_adam"])
def test_one_pass_over_classes(name, recordings):
    recording = recordings(name)
    x, y = jnp.asarray(recording["x_train"]), jnp.asarray(recording["y_train"])
    optimizer = {"adam": optax.adam, "sgd": optax.sgd}[str(recording["optimizer"])]
    start = head_of(recording, "reset")
    after = learn_online(start, x[:, None], y[:, None], float(recording["lr"]), optimizer, cross_entropy)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8), after, head_of(recording, "final"))
    for part in ("train", "test"):
        outputs = jax.vmap(after)(jnp.asarray(recording[f"x_{part}"]))
        accuracy = score(outputs, jnp.asarray(recording[f"y_{part}"]))
        np.testing.assert_allclose(accuracy, recording[f"{part}_accuracy_plain"])


def test_features_of_images(recordings):
    recording = recordings("eval_conv_adam")
    model = recording.network("loaded", (12, 12))
    after = recording.network("final", (12, 12))
    logits = jax.vmap(after.head)(model.encoder(jnp.asarray(recording["x_test"][:, 0])))
    np.testing.assert_allclose(logits, recording["test_logits"], rtol=1e-10)


def test_one_pass_over_functions(recordings):
    recording = recordings("reg_eval_two_linear")
    model = recording.network("init")
    n = int(recording["tasks"])
    x, y, test_x, test_y = (jnp.asarray(recording[it]) for it in ("x_train", "y_train", "x_test", "y_test"))
    features = model.encoder(x).reshape(n, -1, 32, 12)
    test_features = model.encoder(test_x).reshape(n, -1, 12)
    targets, test_targets = y[..., :1].reshape(n, -1, 32, 1), test_y[..., :1].reshape(n, -1, 1)
    errors = errors_after_each(
        head_of(recording, "init"), features, targets, test_features, test_targets, float(recording["lr"])
    )
    so_far = SineResult(0.0, np.asarray(errors)[None]).so_far[0]
    np.testing.assert_allclose(so_far, recording["incremental_mse"], rtol=1e-8)
    np.testing.assert_allclose(errors[-1], recording["final_mse_per_function"], rtol=1e-8)
    assert mean_squared_error(jnp.zeros(1), jnp.ones(1)) == 1
