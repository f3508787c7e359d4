"""Sparsity penalty and statistics against recorded values of the released code."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.representation.pretraining import Pretraining, batch_gradient, sparsity_penalty
from perdure.representation.statistics import representation_statistics
from perdure.updates.gradient import init_train_state, optimizer_step
from perdure.updates.losses import cross_entropy
from tests.conftest import reference_files
from tests.representation.conftest import Recording

pytestmark = pytest.mark.reference

PENALTIES = reference_files("oml", "srnn*.npz")


@pytest.mark.parametrize("file", PENALTIES)
def test_penalty_and_its_gradient(file, in_float64):
    recording = Recording.read(file)
    raw = jnp.asarray(recording["features_raw"])
    for beta in recording["betas"].tolist():
        value, grads = jax.value_and_grad(lambda raw, beta=beta: sparsity_penalty(jax.nn.relu(raw), beta))(raw)
        np.testing.assert_allclose(value, recording[f"beta{beta}.loss"], rtol=1e-10, err_msg=f"beta {beta}")
        np.testing.assert_allclose(grads, recording[f"beta{beta}.grad"], rtol=1e-8, atol=1e-14)


@pytest.mark.long
@pytest.mark.parametrize("file", PENALTIES)
def test_training_steps_with_the_penalty(file, in_float64):
    recording = Recording.read(file)
    method = Pretraining(float(recording["lr"]), sparsity=float(recording["betas"][0]))
    now = init_train_state(recording.network("init"), method.optimizer())
    x, y = jnp.asarray(recording["x"]), jnp.asarray(recording["y"])
    steps = itertools.takewhile(lambda n: f"step{n}.loss_ce" in recording, itertools.count())
    for step in steps:
        gradient, _ = batch_gradient(now.model, x, y, cross_entropy, method.sparsity)
        loss = recording[f"step{step}.loss_sparse"] + recording[f"step{step}.loss_ce"]
        np.testing.assert_allclose(gradient.loss, loss, rtol=1e-10)
        now = optimizer_step(gradient, now.optimizer, method.optimizer())
        expected = recording.parameters(f"step{step}.after", now.model)
        for found, wanted in zip(recording.leaves(now.model), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("file", reference_files("oml", "representation_stats*.npz"))
def test_statistics(file):
    recording = Recording.read(file)
    found = representation_statistics(recording["features"])
    np.testing.assert_allclose(found.instance_sparsity, recording["binary.instance_sparsity"], rtol=1e-6)
    np.testing.assert_allclose(found.lifetime, recording["binary.lifetime"], rtol=1e-6)
    assert found.dead == pytest.approx(float(recording["binary.dead_fraction"]))
    assert found.lifetime.mean() == pytest.approx(found.instance_sparsity)
