"""Seeds divided among devices come to what they come to on one."""

import dataclasses
import json
import os
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure import ER, GEM, BenchmarkRecipe, Example, StreamInfo, run
from perdure.execution import division
from perdure.execution.division import faster_side_by_side, learns_faster_side_by_side
from perdure.machine.cores import usable_cpus
from perdure.models import MLP, ConvNet, convolution
from perdure.models.convolution import convolve

LEARN = """
import json

from perdure import ER, GEM, BenchmarkRecipe, run
from perdure.execution.division import seed_devices

digits = BenchmarkRecipe("digits-rotations", {"tasks": 2, "examples_per_task": 30})
learners = [ER(0.1, 10, 4), GEM(learning_rate=0.03, memory_size=10, margin=0.5)]
losses = [run(it, digits, seeds=3, progress=False).losses.tolist() for it in learners]
unequal = BenchmarkRecipe("digits-split", {"tasks": 2, "classes_per_task": 1, "shuffle_classes": True})
losses += [run(it, unequal, seeds=3, progress=False).losses.tolist() for it in learners]
print(json.dumps([[len(seed_devices(n)) for n in (1, 2, 50)], losses]))
"""


def learned(n_devices):
    """Return the devices for 1, 2 and 50 seeds, and the losses of three seeds of each learner."""
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(n_devices)}
    done = subprocess.run([sys.executable, "-c", LEARN], env=environment, check=True, capture_output=True, text=True)
    devices, losses = json.loads(done.stdout)
    return devices, [np.asarray(it) for it in losses]


def test_networks_of_convolutions_alone_are_computed_one_after_another():
    def networks(make):
        return jax.vmap(lambda key: make(key))(jax.random.split(jax.random.key(0), 3))

    assert faster_side_by_side(networks(lambda key: MLP(28, 10, key=key)))
    assert not faster_side_by_side(networks(lambda key: ConvNet((28, 28), 10, width=2, key=key)))


@pytest.mark.parametrize("cores", [1, 2])
def test_learners_of_convolutions_are_computed_one_after_another_on_one_core(cores, monkeypatch):
    monkeypatch.setattr(division, "usable_cpus", lambda: cores)
    example = Example(jnp.zeros((28, 28)), jnp.asarray(0), jnp.asarray(0))

    def together(learner, make):
        keys = jax.random.split(jax.random.key(0), 3)
        states = jax.vmap(lambda key: learner.init(make(key), example, key))(keys)
        return learns_faster_side_by_side(learner, states)

    def convolutions(key):
        return ConvNet((28, 28), 10, width=2, key=key)

    assert together(ER(0.1, 10, 4), lambda key: MLP(784, 10, key=key))
    assert together(ER(0.1, 10, 4), convolutions) == (cores > 1)
    of_tasks = StreamInfo(n_outputs=10, n_tasks=2, task_sizes=(30, 30))
    gem = dataclasses.replace(GEM(learning_rate=0.03, memory_size=10, margin=0.5), stream_info=of_tasks)
    assert not together(gem, lambda key: MLP(784, 10, key=key))


class Convolutions(eqx.Module):
    """The smallest network with a convolution at stride 1."""

    filters: jax.Array
    outputs: jax.Array

    def __call__(self, x):
        return jax.nn.relu(convolve(x[..., None], self.filters)).mean((-3, -2)) @ self.outputs


def small_convolutions(example, n_outputs, key):
    filters, outputs = jax.random.normal(key, (3, 3, 1, 4)), jax.random.normal(key, (4, n_outputs))
    return Convolutions(filters / 3, outputs / 2)


def test_seeds_one_after_another_on_one_core_learn_what_they_learn_side_by_side(monkeypatch):
    digits = BenchmarkRecipe("digits-rotations", {"tasks": 2, "examples_per_task": 12})

    def losses(cores):
        monkeypatch.setattr(division, "usable_cpus", lambda: cores)
        monkeypatch.setattr(convolution, "usable_cpus", lambda: cores)
        monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:1])
        jax.clear_caches()
        return run(ER(0.1, 10, 4), digits, seeds=2, model=small_convolutions, progress=False).losses

    np.testing.assert_allclose(losses(1), losses(2), rtol=1e-3, atol=1e-5)


@pytest.mark.long
@pytest.mark.skipif(usable_cpus() < 2, reason="one core is one device")
def test_three_seeds_on_two_devices_learn_what_they_learn_on_one():
    (devices_of_one, alone), (devices_of_two, divided) = learned(1), learned(2)
    assert devices_of_one == [1, 1, 1]
    assert devices_of_two == [1, 2, 2]
    assert np.isnan(alone[-1]).any()  # streams of different lengths
    for one, other in zip(divided, alone, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
