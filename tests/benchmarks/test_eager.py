"""The loops that perdure's speed is compared with learn what perdure learns."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import Example, StreamInfo
from perdure.experiments.supervised.run import run
from perdure.learners.cls_er import CLSER, CLSERDraws
from perdure.learners.der import DERPlusPlus
from perdure.learners.er import ER
from perdure.learners.er_ace import ERACE
from perdure.learners.ewc import EWC
from perdure.learners.gem import AGEM, GEM
from perdure.learners.la_maml import LaMAML
from perdure.learners.look_ahead import Draws as DrawsForBatch
from perdure.learners.mer import MER
from perdure.learners.replay import Draws
from perdure.models import MLP
from perdure.streams.arrays import from_arrays
from tests.conftest import load_module

pytestmark = pytest.mark.long

torch = pytest.importorskip("torch")
D, CLASSES, TASKS, LENGTH = 6, 3, 3, 20


@pytest.fixture(scope="module")
def eager():
    return load_module("eager", Path(__file__).parents[2] / "benchmarks" / "eager.py")


@pytest.fixture(scope="module")
def tasks():
    rng = np.random.default_rng(0)
    labels = np.resize(np.arange(CLASSES, dtype=np.int32), LENGTH)
    return [(rng.normal(size=(LENGTH, D)).astype(np.float32), labels) for _ in range(TASKS)]


@pytest.fixture
def model():
    return MLP(D, CLASSES, (5, 4), key=jax.random.key(0))


@pytest.fixture
def plainly(eager, tasks, model):
    """Function (loop, …) that returns the weights with which PyTorch ends."""

    def learn(loop, **values):
        network = eager.perceptron(
            [[torch.tensor(np.asarray(leaf)) for leaf in (layer.weight, layer.bias)] for layer in model.layers]
        )
        x, y = (torch.tensor(np.concatenate(part)) for part in zip(*tasks, strict=True))
        loop(network, eager.Stream(x, y.long(), np.repeat(range(TASKS), LENGTH).tolist()), **values)
        return [weight.detach().numpy() for weight in network.parameters()]

    return learn


@pytest.fixture
def ours(tasks, model):
    """Function of a learner that returns the weights with which perdure ends."""

    def learn(learner):
        result = run(learner, from_arrays(tasks, tasks), model=lambda *_: model, progress=False)
        return [np.asarray(leaf[0]) for leaf in jax.tree.leaves(result.states.model)]

    return learn


def assert_close(one, other, atol=1e-4):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def test_ewc(eager, plainly, ours):
    values: dict[str, Any] = {"learning_rate": 0.1, "fisher_examples": 5, "strength": 3.0}
    assert_close(plainly(eager.ewc, **values), ours(EWC(**values)))


def test_gem(eager, plainly, ours):
    values: dict[str, Any] = {"learning_rate": 0.05, "margin": 0.5}
    # PyTorch's side keeps the Gram matrix regular by a thousandth of the unit matrix, as the released code does.
    assert_close(plainly(eager.gem, memories_per_task=5, **values), ours(GEM(memory_size=15, **values)), atol=0.02)


def test_er_and_mer_with_the_first_example_as_their_only_memory(eager, plainly, tasks, model, monkeypatch):
    """Without chance: each draw is the first example, which no other ever replaces."""
    monkeypatch.setattr(eager.random, "randrange", lambda n: n - 1)
    shared: dict[str, Any] = {"learning_rate": 0.05, "memory_size": 1, "replay_batch_size": 1}
    of_mer: dict[str, Any] = {**shared, "beta": 0.5, "gamma": 0.7, "batches_per_example": 2}
    for learner, loop, values in ((ER(**shared), eager.er, shared), (MER(**of_mer), eager.mer, of_mer)):
        state = None
        for n, (x, y) in enumerate(zip(*map(np.concatenate, zip(*tasks, strict=True)), strict=True)):
            example = Example(jnp.asarray(x), jnp.asarray(y), jnp.asarray(0))
            state = learner.init(model, example, jax.random.key(0)) if state is None else state
            slots = jnp.zeros((learner.n_batches(), 1), jnp.int32)
            state, _ = learner.observe_with(state, example, Draws(slots, jnp.asarray(0), jnp.asarray(n)))
        assert state is not None
        assert_close(plainly(loop, **values), jax.tree.leaves(state.model))


ONE_MEMORY: dict[str, Any] = {"learning_rate": 0.05, "memory_size": 1, "replay_batch_size": 1}
AVERAGES = {"plastic_probability": 1.0, "plastic_decay": 0.8, "stable_probability": 1.0, "stable_decay": 0.95}
REPLAYED: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "der++": (DERPlusPlus, "der_plus_plus", {**ONE_MEMORY, "alpha": 0.4, "beta": 0.7}),
    "er-ace": (ERACE, "er_ace", ONE_MEMORY),
    "cls-er": (CLSER, "cls_er", {**ONE_MEMORY, "consistency": 0.6, **AVERAGES}),
}


@pytest.mark.parametrize("name", REPLAYED)
def test_replay_with_the_first_example_as_its_only_memory(name, eager, plainly, tasks, model, monkeypatch):
    """Without chance: each draw is the first example, which no other ever replaces."""
    monkeypatch.setattr(eager.random, "randrange", lambda n: n - 1)
    make, loop, values = REPLAYED[name]
    learner, state = make(**values), None
    slots = jnp.zeros((learner.replay().n_batches, 1), jnp.int32)

    def observe(state, example, place):
        if name != "cls-er":
            return learner.observe_with(state, example, Draws(slots, jnp.asarray(0), place))[0]
        batch, draws = jax.tree.map(lambda leaf: leaf[None], example), CLSERDraws(slots, jnp.zeros(()), jnp.zeros(()))
        after = learner.update(state, batch, draws)[0]
        return after._replace(memory=learner.replay().store(state.memory, example, place))

    observe = jax.jit(observe)
    for n, (x, y) in enumerate(zip(*map(np.concatenate, zip(*tasks, strict=True)), strict=True)):
        example = Example(jnp.asarray(x), jnp.asarray(y), jnp.asarray(0))
        state = learner.init(model, example, jax.random.key(0)) if state is None else state
        state = observe(state, example, jnp.asarray(n))
    assert state is not None
    learned = state.working.model if name == "cls-er" else state.model
    assert_close(plainly(getattr(eager, loop), **values), jax.tree.leaves(learned))


def test_a_gem_with_one_memory_a_task(eager, plainly, tasks, model, monkeypatch):
    """Without chance: the memory of a task is its last example, and what is drawn is the last task's."""
    monkeypatch.setattr(eager.random, "choices", lambda held, k: [held[-1]] * k)
    values: dict[str, Any] = {"learning_rate": 0.1, "replay_batch_size": 2}
    info = StreamInfo(CLASSES, TASKS, (LENGTH,) * TASKS)
    learner, state = AGEM(memory_size=TASKS, stream_info=info, **values), None
    observe = jax.jit(learner.observe_with)
    for task, (xs, ys) in enumerate(tasks):
        last_x, last_y = (jnp.stack([jnp.asarray(leaf[-1])] * 2) for leaf in tasks[max(task - 1, 0)])
        for x, y in zip(xs, ys, strict=True):
            example = Example(jnp.asarray(x), jnp.asarray(y), jnp.asarray(task, jnp.int32))
            state = learner.init(model, example, jax.random.key(0)) if state is None else state
            state, _ = observe(state, example, Example(last_x, last_y, jnp.zeros(2, jnp.int32)))
    assert state is not None
    assert_close(plainly(eager.a_gem, memories_per_task=1, **values), jax.tree.leaves(state.model))


def test_la_maml_with_the_first_example_as_its_only_memory(eager, plainly, tasks, model, monkeypatch):
    """Without chance: the order is that of the stream, and each draw is the first example."""
    monkeypatch.setattr(eager.random, "randrange", lambda n: n - 1)
    monkeypatch.setattr(eager.random, "shuffle", lambda batch: None)
    sizes: dict[str, Any] = {"memory_size": 1, "replay_batch_size": 1, "batch_size": 4, "glances": 2}
    values = {**sizes, "initial_rate": 0.1, "rate_learning_rate": 0.1, "clip_norm": 0.5}
    learner, state = LaMAML(**values), None
    order, slots = jnp.broadcast_to(jnp.arange(4, dtype=jnp.int32), (2, 4)), jnp.zeros((2, 1), jnp.int32)
    for n, (x, y) in enumerate(zip(*map(np.concatenate, zip(*tasks, strict=True)), strict=True)):
        example = Example(jnp.asarray(x), jnp.asarray(y), jnp.asarray(0))
        state = learner.init(model, example, jax.random.key(0)) if state is None else state
        stored_in = jnp.arange(4, dtype=jnp.int32) + int(n >= 4)
        state, _ = jax.jit(learner.observe_with)(state, example, DrawsForBatch(order, slots, stored_in))
    assert state is not None
    assert_close(plainly(eager.la_maml, **values), jax.tree.leaves(state.model))
