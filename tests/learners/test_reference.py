"""Every method against recorded runs of the released code: weights after each example, draw for draw."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import Example
from perdure.learners.er import ER, ERAlgorithm5
from perdure.learners.mer import MER, MERAlgorithm6, MERAlgorithm7
from perdure.learners.online import Online
from perdure.learners.replay import Draws
from perdure.models import MLP

RECORDINGS = Path(__file__).parents[1] / "reference" / "mer"


def mer(run):
    return MER(**replay(run), beta=float(run["hp_beta"]), gamma=float(run["hp_gamma"]), batches_per_example=3)


def mer_6(run):
    return MERAlgorithm6(**replay(run), gamma=float(run["hp_gamma"]), batches_per_example=3)


def mer_7(run):
    return MERAlgorithm7(**replay(run), gamma=float(run["hp_gamma"]), current_example_weight=float(run["hp_s"]))


def replay(run):
    return {
        "learning_rate": float(run["hp_lr"]),
        "memory_size": int(run["hp_memories"]),
        "replay_batch_size": int(run["hp_replay_batch_size"]),
    }


LEARNERS = {
    "meralg1": mer,
    "meralg6": mer_6,
    "meralg7": mer_7,
    "eralg4": lambda run: ER(**replay(run)),
    "eralg5": lambda run: ERAlgorithm5(**replay(run)),
}


class FreeForm(eqx.Module):
    """The same network under another type, so that it takes the general form of the update."""

    network: MLP

    def __call__(self, x):
        return self.network(x)


def load(name):
    with np.load(RECORDINGS / f"{name}.npz") as file:
        return dict(file)


def recorded_model(run, dtype, form):
    model = MLP(12, 5, (8, 8), key=jax.random.key(0))
    for layer in range(3):
        weight, bias = (jnp.asarray(run[f"init_{kind}{layer}"], dtype) for kind in ("weight", "bias"))
        model = eqx.tree_at(lambda it, n=layer: (it.layers[n].weight, it.layers[n].bias), model, (weight, bias))
    return form(model)


def recorded_stream(run, dtype):
    y, task = (jnp.asarray(run[name], jnp.int32) for name in ("stream_y", "stream_task"))
    return Example(jnp.asarray(run["stream_x"], dtype), y, task)


def recorded_draws(run):
    """Return the recorded draws; where the batch was shuffled (Algorithm 7), in the order that it was visited in."""
    slots = np.maximum(run["replay_draws"], 0)
    position = np.zeros(len(slots), int)
    if "batch_order" in run:
        for n, order in enumerate(run["batch_order"]):
            visited = order[order >= 0]
            if len(visited):
                position[n] = list(visited).index(0)
                slots[n, 0, : len(visited) - 1] = slots[n, 0, visited[visited > 0] - 1]
    stored_in = np.where(run["reservoir_slot"] < 0, int(run["hp_memories"]), run["reservoir_slot"])
    return Draws(*(jnp.asarray(it, jnp.int32) for it in (slots, position, stored_in)))


def weights(model):
    return [
        leaf
        for layer in jax.tree.leaves(model, is_leaf=lambda it: isinstance(it, eqx.nn.Linear))
        for leaf in (layer.weight, layer.bias)
    ]


def assert_matches(run, models, atol):
    names = [f"after_{kind}{layer}" for layer in range(3) for kind in ("weight", "bias")]
    for name, trajectory in zip(names, weights(models), strict=True):
        np.testing.assert_allclose(trajectory, run[name], rtol=0, atol=atol, err_msg=name)


def replayed_models(learner, run, dtype, form):
    stream = recorded_stream(run, dtype)
    first = jax.tree.map(lambda leaf: leaf[0], stream)
    state = learner.init(recorded_model(run, dtype, form), first, jax.random.key(0))

    def learn(state, step):
        state, info = learner.observe_with(state, *step)
        return state, (state, info)

    return jax.lax.scan(learn, state, (stream, recorded_draws(run)))[1]


@pytest.mark.parametrize("form", [lambda model: model, FreeForm], ids=["gram", "general"])
@pytest.mark.parametrize("name", LEARNERS)
def test_float64_run_is_reproduced_to_1e9(name, form, x64):
    run = load(name)
    states, _ = replayed_models(LEARNERS[name](run), run, jnp.float64, form)
    assert_matches(run, states.model, atol=1e-9)


@pytest.mark.parametrize("form", [lambda model: model, FreeForm], ids=["gram", "general"])
@pytest.mark.parametrize("name", LEARNERS)
def test_float32_run_is_reproduced_to_1e5(name, form):
    run = load(name)
    states, _ = replayed_models(LEARNERS[name](run), run, jnp.float32, form)
    assert_matches(run, states.model, atol=1e-5)
    for layer in range(3):
        for kind, value in zip(("weight", "bias"), weights(states.model)[2 * layer :], strict=False):
            np.testing.assert_allclose(value[-1], run[f"final_float32_{kind}{layer}"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", LEARNERS)
def test_memory_holds_what_the_recorded_memory_held(name, x64):
    run = load(name)
    states, _ = replayed_models(LEARNERS[name](run), run, jnp.float64, lambda model: model)
    for n, held in enumerate(run["memory_stream_index"]):
        held = held[held >= 0]
        np.testing.assert_array_equal(states.memory.examples.x[n, : len(held)], run["stream_x"][held])
        np.testing.assert_array_equal(states.memory.examples.task[n, : len(held)], run["stream_task"][held])
        assert states.memory.seen[n] == n + 1


@pytest.mark.parametrize(("dtype", "atol"), [(jnp.float64, 1e-9), (jnp.float32, 1e-5)], ids=["64", "32"])
def test_online_run_is_reproduced(dtype, atol):
    with jax.enable_x64(dtype is jnp.float64):
        run = load("online")
        learner = Online(learning_rate=float(run["hp_lr"]))
        stream = recorded_stream(run, dtype)
        state = learner.init(recorded_model(run, dtype, lambda model: model), stream, jax.random.key(0))

        def learn(state, example):
            state, _ = learner.observe(state, example, jax.random.key(0))
            return state, state

        _, states = jax.lax.scan(learn, state, stream)
        assert_matches(run, states.model, atol)
