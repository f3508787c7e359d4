"""Learning online on fixed features, against recorded runs of the released evaluation, in float64."""

import functools

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
from perdure.updates.losses import cross_entropy
from tests.conftest import reference_files
from tests.representation.conftest import Recording

pytestmark = pytest.mark.usefixtures("in_float64")


def has_encoder(recording):
    return not recording["param_adapted"].all()


def head_of(recording, prefix):
    if has_encoder(recording):
        return recording.network(prefix).head
    arrays = [jnp.asarray(recording[f"{prefix}.{name}"]) for name in recording["param_names"]]
    weights, biases = arrays[::2], arrays[1::2]
    sizes = [weights[0].shape[1], *(len(bias) for bias in biases)]
    head = MLP(sizes[0], sizes[-1], sizes[1:-1], key=jax.random.key(0))
    return eqx.tree_at(lambda it: [leaf for layer in it.layers for leaf in (layer.weight, layer.bias)], head, arrays)


def features_of(recording, prefix, x):
    """Return the features of inputs, or of batches of them; the inputs themselves where no encoder was recorded."""
    x = jnp.asarray(x)
    return recording.network(prefix).encoder(x) if has_encoder(recording) else x


def check_pass_over_classes(recording):
    """Assert that the head after one pass, and what it answers, are those recorded."""
    x, y = features_of(recording, "reset", recording["x_train"]), jnp.asarray(recording["y_train"])
    optimizer = {"adam": optax.adam, "sgd": optax.sgd}[str(recording["optimizer"])]
    start = head_of(recording, "reset")
    after = learn_online(start, x[:, None], y[:, None], float(recording["lr"]), optimizer, cross_entropy)
    for found, expected in zip(jax.tree.leaves(after), jax.tree.leaves(head_of(recording, "final")), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)
    for part in ("train", "test"):
        outputs = jax.vmap(after)(features_of(recording, "reset", recording[f"x_{part}"]))
        np.testing.assert_allclose(outputs, recording[f"{part}_logits"], rtol=1e-8, atol=1e-12)
        accuracy = score(outputs, jnp.asarray(recording[f"y_{part}"]))
        np.testing.assert_allclose(accuracy, recording[f"{part}_accuracy_plain"])


@pytest.mark.reference
@pytest.mark.parametrize("file", reference_files("oml", "eval_*.npz"))
def test_one_pass_over_classes(file):
    check_pass_over_classes(Recording.read(file))


@pytest.mark.reference
@pytest.mark.parametrize("file", reference_files("oml", "reg_eval_*.npz"))
def test_one_pass_over_functions(file):
    recording = Recording.read(file)
    n = int(recording["tasks"])
    features, test_features = (features_of(recording, "init", recording[name]) for name in ("x_train", "x_test"))
    y, test_y = (jnp.asarray(recording[name][..., :1]) for name in ("y_train", "y_test"))
    errors = errors_after_each(
        head_of(recording, "init"),
        features.reshape(n, -1, *features.shape[1:]),
        y.reshape(n, -1, *y.shape[1:]),
        test_features.reshape(n, -1, test_features.shape[-1]),
        test_y.reshape(n, -1, 1),
        float(recording["lr"]),
    )
    so_far = SineResult("sgd", 0.0, np.asarray(errors)[None]).so_far[0]
    np.testing.assert_allclose(so_far, recording["incremental_mse"], rtol=1e-8)
    np.testing.assert_allclose(errors[-1], recording["final_mse_per_function"], rtol=1e-8)


@functools.cache
def other_pass():
    """Return a pass worked out in NumPy alone, with other sizes and another rate than the recordings have."""
    rng = np.random.default_rng(5)
    n_train, n_test, n_features, n_hidden, n_outputs, rate = 9, 4, 5, 7, 3, 0.2
    arrays = {
        "optimizer": "sgd",
        "lr": rate,
        "x_train": rng.random((n_train, n_features)),
        "y_train": rng.integers(0, n_outputs, n_train),
        "x_test": rng.random((n_test, n_features)),
        "y_test": rng.integers(0, n_outputs, n_test),
        "param_names": [f"linear{n}.{kind}" for n in range(2) for kind in ("weight", "bias")],
        "param_adapted": [True] * 4,
    }
    shapes = (n_hidden, n_features), (n_hidden,), (n_outputs, n_hidden), (n_outputs,)
    weights = [rng.normal(size=shape) for shape in shapes]
    arrays |= {f"reset.{name}": weight for name, weight in zip(arrays["param_names"], weights, strict=True)}
    for x, y in zip(arrays["x_train"], arrays["y_train"], strict=True):
        (w0, b0), (w1, b1) = weights[:2], weights[2:]
        hidden = np.maximum(w0 @ x + b0, 0)
        exps = np.exp(w1 @ hidden + b1)
        error = exps / exps.sum() - np.eye(n_outputs)[y]
        below = (w1.T @ error) * (hidden > 0)
        grads = np.outer(below, x), below, np.outer(error, hidden), error
        weights = [weight - rate * grad for weight, grad in zip(weights, grads, strict=True)]
    arrays |= {f"final.{name}": weight for name, weight in zip(arrays["param_names"], weights, strict=True)}
    for part in ("train", "test"):
        logits = np.maximum(arrays[f"x_{part}"] @ weights[0].T + weights[1], 0) @ weights[2].T + weights[3]
        arrays[f"{part}_logits"] = logits
        arrays[f"{part}_accuracy_plain"] = np.mean(logits.argmax(axis=1) == arrays[f"y_{part}"])
    return {name: np.asarray(array) for name, array in arrays.items()}


def test_a_pass_of_other_sizes_is_reproduced():
    check_pass_over_classes(Recording(other_pass()))


@pytest.mark.parametrize(
    ("name", "place", "by"),
    [
        ("x_train", (0, 0), 1e-4),
        ("reset.linear0.weight", (0, 0), 1e-5),
        ("final.linear1.bias", 2, 1e-6),
        ("test_logits", (3, 2), 1e-6),
        ("train_accuracy_plain", (), 1 / 9),
        ("lr", (), 1e-5),
    ],
)
def test_a_changed_number_of_the_pass_is_noticed(name, place, by):
    changed = other_pass()[name].copy()
    changed[place] += by
    with pytest.raises(AssertionError):
        check_pass_over_classes(Recording(other_pass() | {name: changed}))
