"""Meta-gradients and meta-updates against recorded runs of the released code, in float64."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.representation.oml import OML, meta_gradient
from perdure.updates.gradient import init_train_state, optimizer_step
from perdure.updates.losses import cross_entropy, mean_squared_error
from perdure.updates.unroll import unroll
from tests.conftest import reference_files
from tests.representation.conftest import Recording

pytestmark = [pytest.mark.reference, pytest.mark.long, pytest.mark.usefixtures("in_float64")]

CLASSIFICATION = reference_files("oml", "cls_*.npz")
REGRESSION = [file for file in reference_files("oml", "reg_*.npz") if not file.name.startswith("reg_eval_")]


@pytest.fixture(params=CLASSIFICATION + REGRESSION)
def recording(request):
    return Recording.read(request.param)


def method(recording, **changes):
    clip = float(recording["inner_clip"]) if "inner_clip" in recording else None
    return OML(float(recording["update_lr"]), float(recording["meta_lr"]), clip=clip, **changes)


def loss_of(recording):
    return mean_squared_error if "inner_clip" in recording else cross_entropy


def n_updates(recording):
    return int(recording["updates"])


def gradient_of(recording, update, **changes):
    """Return the meta-gradient of a recorded update, and what is measured on the way."""
    given = before(recording, update), recording.episode(update)
    return meta_gradient(method(recording, **changes), *given, loss_of(recording))


def before(recording, update):
    return recording.network(f"u{update}.before")


def largest_deviation(found, expected):
    """Return the largest deviation of any parameter, relative to its largest entry."""
    return max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(("first_order", "which"), [(False, "grad"), (True, "grad_first_order")])
def test_meta_gradient(recording, first_order, which):
    for update in range(n_updates(recording)):
        model = before(recording, update)
        gradient, _ = gradient_of(recording, update, first_order=first_order)
        expected = recording.parameters(f"u{update}.{which}", model)
        assert largest_deviation(recording.leaves(gradient.grads), expected) < 1e-8


def test_second_order_is_as_far_from_first_order_as_recorded(recording):
    for update in range(n_updates(recording)):
        model = before(recording, update)
        gradient, _ = gradient_of(recording, update)
        exact, first_order = (recording.parameters(f"u{update}.{it}", model) for it in ("grad", "grad_first_order"))
        distance = largest_deviation(exact, first_order)
        assert distance > 1e-6  # else no test could tell them apart
        found = largest_deviation(recording.leaves(gradient.grads), first_order)
        np.testing.assert_allclose(found, distance, rtol=1e-3)


def test_meta_loss(recording):
    for update in range(n_updates(recording)):
        _, measured = gradient_of(recording, update)
        np.testing.assert_allclose(measured.loss, recording[f"u{update}.meta_loss"][-1], rtol=1e-10)


@pytest.mark.parametrize("file", CLASSIFICATION)
def test_accuracy_before_and_after(file):
    recording = Recording.read(file)
    for update in range(n_updates(recording)):
        _, measured = gradient_of(recording, update)
        accuracy = recording[f"u{update}.meta_accuracy"]
        n_query = recording[f"u{update}.y_rand"].shape[1]
        found = np.array([measured.before, measured.after])
        np.testing.assert_array_equal(np.rint(found * n_query), np.rint(accuracy[[0, -1]] * n_query))


def test_meta_updates_follow_one_another(recording):
    learner = method(recording)
    optimizer = init_train_state(before(recording, 0), learner.optimizer()).optimizer
    for update in range(n_updates(recording)):
        gradient, _ = gradient_of(recording, update)
        now = optimizer_step(gradient, optimizer, learner.optimizer())
        optimizer = now.optimizer
        expected = recording.parameters(f"u{update}.after", now.model)
        for found, wanted in zip(recording.leaves(now.model), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def test_head_after_every_inner_step(recording):
    """From the recorded head before each step, and after all steps from the start."""
    learner, model, given = method(recording), before(recording, 0), recording.episode(0)
    features = model.encoder(given.x).reshape(*given.x.shape[:2], -1)

    @jax.jit
    def learned(head, features, y):
        return unroll(head, features, y, learner.inner_rate, loss_of(recording), clip=learner.clip)

    def assert_recorded(step, head):
        found = recording.leaves(eqx.tree_at(lambda it: it.head, model, head))
        for a, b in zip(found, step_parameters(recording, step, model), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)

    head = model.head
    for step in range(len(features)):
        assert_recorded(step, learned(head, features[step : step + 1], given.y[step : step + 1]))
        after = step_parameters(recording, step, model)
        head = eqx.tree_at(recording.leaves, model, after).head
    assert_recorded(len(features) - 1, learned(model.head, features, given.y))


def step_parameters(recording, step, model):
    """Return the parameters after an inner step of the first update."""
    for name in recording["param_names"][recording["param_adapted"]]:
        recording.arrays[f"fast.{name}"] = recording[f"u0.fast.{name}"][step]
    return recording.parameters("fast", model, else_prefix="u0.before")


@pytest.mark.parametrize("file", CLASSIFICATION)
def test_meta_gradient_by_finite_differences(file):
    recording = Recording.read(file)
    learner, model, given = method(recording), before(recording, 0), recording.episode(0)
    gradient, _ = meta_gradient(learner, model, given)
    rng = np.random.default_rng(0)
    direction = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), model)
    step = 1e-5

    def loss(size):
        moved = jax.tree.map(lambda leaf, by: leaf + size * by, model, direction)
        return meta_gradient(learner, moved, given)[1].loss

    grads = sum(jax.tree.leaves(jax.tree.map(lambda by, way: jnp.sum(by * way), gradient.grads, direction)))
    np.testing.assert_allclose((loss(step) - loss(-step)) / (2 * step), grads, rtol=1e-6)
