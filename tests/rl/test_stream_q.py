"""Stream-Q(λ): its update against NumPy, its network's start, and that it learns."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import perdure
from perdure.models import split_trainable
from perdure.rl.stream_q import StreamNetwork, StreamQ, stream_network
from perdure.rl.transition import Transition

AGENT = StreamQ(learning_rate=1.0, kappa=2.0, trace=0.8, discount=0.9, exploration_end=0.1, exploration_frames=10)
SIZES = (3, 6, 5, 2)


class Reference:
    """The update written out in NumPy; derivatives are central differences."""

    def __init__(self, weights):
        self.weights, self.trace = weights, np.zeros_like(weights)
        self.seen: list[np.ndarray] = []
        self.sums: list[float] = []

    def values(self, weights, x):
        at = 0
        for fan_in, fan_out in itertools.pairwise(SIZES):
            matrix = weights[at : at + fan_in * fan_out].reshape(fan_out, fan_in)
            at += fan_in * fan_out
            x = matrix @ x + weights[at : at + fan_out]
            at += fan_out
            if at < len(weights):
                x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
                x = np.where(x > 0, x, 0.01 * x)
        return x

    def standardized(self, x):
        variance = np.var(self.seen, axis=0, ddof=1) if len(self.seen) > 1 else np.ones(3)
        return (x - np.mean(self.seen, axis=0)) / np.sqrt(variance + 1e-8)

    def learn(self, x, action, reward, discount, then, begins, ended):
        if begins:
            self.seen.append(x)
        seen = self.standardized(x)
        self.seen.append(then)
        seen_then = self.standardized(then)
        self.sums.append(reward + (0 if ended or not self.sums else 0.9 * self.sums[-1]))
        variance = np.var(self.sums, ddof=1) if len(self.sums) > 1 else 1.0
        reward = reward / np.sqrt(variance + 1e-8)
        values = self.values(self.weights, seen)
        error = reward + 0.9 * discount * self.values(self.weights, seen_then).max() - values[action]
        step = 1e-6 * np.eye(len(self.weights))
        slope = [
            (self.values(self.weights + it, seen)[action] - self.values(self.weights - it, seen)[action]) / 2e-6
            for it in step
        ]
        self.trace = 0.9 * 0.8 * self.trace + np.array(slope)
        size = 1.0 / max(1.0, 2.0 * 1.0 * max(abs(error), 1.0) * np.abs(self.trace).sum())
        self.weights = self.weights + size * error * self.trace
        if ended or action != values.argmax():
            self.trace = np.zeros_like(self.trace)


def flat(tree):
    return np.concatenate([np.asarray(leaf).ravel() for leaf in jax.tree.leaves(tree)])


@pytest.mark.usefixtures("x64")
def test_updates_are_those_of_numpy():
    rng = np.random.default_rng(0)
    network = StreamNetwork(SIZES, key=jax.random.key(0))
    network = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), network)
    n, ends = 14, {4: 0.0, 9: 1.0}  # frame 4 ends a game, frame 9 by a time limit
    observations, rewards = rng.normal(2.0, 3.0, size=(n + 1, 3)), rng.normal(size=n) * 4
    one = Transition(jnp.zeros(3), jnp.asarray(0, jnp.int32), jnp.asarray(0.0), jnp.asarray(1.0), jnp.zeros(3))
    state = AGENT.init(network, one)
    reference = Reference(flat(network))
    observe = jax.jit(AGENT.observe)
    x, begins, kept = observations[0], True, 0
    for frame in range(n):
        then, discount, ended = observations[frame + 1], ends.get(frame, 1.0), frame in ends
        action = int(rng.integers(2))
        given = Transition(*(jnp.asarray(it) for it in (x, np.int32(action), rewards[frame], discount, then)))
        state = observe(state, given, jnp.asarray(frame), jax.random.key(0), jnp.asarray(int(ended), jnp.int32))
        reference.learn(x, action, rewards[frame], discount, then, begins, ended)
        np.testing.assert_allclose(flat(state.model), reference.weights, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(flat(state.trace), reference.trace, rtol=1e-5, atol=1e-6)
        kept += int(np.abs(reference.trace).max() > 0)
        x, begins = (rng.normal(size=3), True) if ended else (then, False)
    assert 0 < kept < n - len(ends)  # traces were kept, and forgotten for an action that was not the best
    assert bool(state.begins) is False


def test_nine_tenths_of_the_weights_into_a_unit_begin_at_zero():
    network = stream_network(jnp.zeros(40), 3, jax.random.key(0))
    for layer, fan_in in zip(network.layers, (40, 64, 64), strict=True):
        zeros = np.sum(np.asarray(layer.weight) == 0, axis=1)
        assert (zeros == np.ceil(0.9 * fan_in)).all()
        assert np.abs(layer.weight).max() <= fan_in**-0.5
        assert not np.asarray(layer.bias).any()
    assert len({tuple(row) for row in np.asarray(network.layers[0].weight) != 0}) > 20
    few = stream_network(jnp.zeros(4), 2, jax.random.key(0)).layers[0]
    assert (np.sum(np.asarray(few.weight) != 0, axis=1) == 1).all()


def test_the_agent_that_is_evaluated_standardizes_observations():
    network = StreamNetwork(SIZES, key=jax.random.key(1))
    x = jnp.asarray([5.0, -2.0, 0.5])
    one = Transition(x, jnp.asarray(0, jnp.int32), jnp.asarray(0.0), jnp.asarray(1.0), x + 1)
    state = AGENT.init(network, one)
    state = AGENT.observe(state, one, jnp.asarray(0), jax.random.key(0))
    expected = state.model((x - (x + 0.5)) / np.sqrt(0.5))
    np.testing.assert_allclose(AGENT.answering(state)(x), expected, rtol=1e-5, atol=1e-6)


def test_pictures_are_refused():
    with pytest.raises(ValueError, match=r"pictures of shape \(2, 42, 42\), expected numbers"):
        perdure.run_agent(AGENT, perdure.rl.make_game("catcher", "frames-small"), stages=[(0, 1_000)], progress=False)


@pytest.mark.long
def test_a_run_learns_and_keeps_its_networks(tmp_path):
    options = {"stages": [(0, 2_000)], "evaluate_every": 2_000, "episodes": 2, "progress": False, "seeds": 2}
    result = perdure.run_agent(AGENT, "catcher", folder=tmp_path / "r", **options)
    moved = ravel_pytree(split_trainable(result.networks.network)[0])[0]
    assert np.isfinite(moved).all()
    assert (tmp_path / "r" / "networks.safetensors").exists()
    assert perdure.run_agent(AGENT, "catcher", folder=tmp_path / "r", **options).from_record
