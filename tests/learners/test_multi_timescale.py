"""MER over several time scales: its limit, its averages, shares and answers by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import Example
from perdure.learners.mer import MER
from perdure.learners.multi_timescale import MultiTimescaleMER, departure
from perdure.learners.replay import Draws
from perdure.models import MLP
from perdure.updates.losses import mean_squared_error

N = 12
KEY = jax.random.key(0)
NETWORK = MLP(3, 4, (5,), key=KEY)
REPLAY = {"learning_rate": 0.2, "memory_size": 4, "replay_batch_size": 3, "batches_per_example": 2, "beta": 0.4}
X = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32)
STREAM = Example(X, np.arange(N, dtype=np.int32) % 4, np.zeros(N, np.int32))
NUMBERS = Example(X, X[:, [0, 1, 2, 0]] * 2, np.zeros(N, np.int32))


def learn(learner, stream=STREAM):
    """Return the states and what was reported after each example, leaves (N, ...)."""

    def step(state, numbered):
        n, example = numbered
        after, info = learner.observe(state, example, jax.random.key(n))
        return after, (after, info)

    state = learner.init(NETWORK, jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), stream), KEY)
    return jax.jit(lambda: jax.lax.scan(step, state, (jnp.arange(N), stream))[1])()


def network(states, n, which):
    return jax.tree.map(lambda leaf: leaf[n, which], states.networks)


def assert_close(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), one, other)


def test_without_averages_and_stored_answers_it_is_mer():
    states, infos = learn(MultiTimescaleMER(**REPLAY, stored_share=0.0, n_time_scales=0))
    plain, plain_infos = learn(MER(**REPLAY, gamma=1.0))
    for n in range(N):
        assert_close(network(states, n, 0), jax.tree.map(lambda leaf, n=n: leaf[n], plain.model))
    assert_close(infos.loss, plain_infos.loss)


def test_averages_follow_the_weights_the_slowest_over_what_the_memory_has_lost():
    states, _ = learn(MultiTimescaleMER(**REPLAY, shortest_time_scale=2, n_time_scales=3))
    averages = [NETWORK] * 3
    for n in range(N):
        now, seen = network(states, n, 0), n + 1
        lost = max(seen / REPLAY["memory_size"], 1)
        for place, scale in enumerate((2, 2 * lost**0.5, 2 * lost)):
            step = 1 / min(scale, seen + 1)
            averages[place] = jax.tree.map(lambda old, new, step=step: old + step * (new - old), averages[place], now)
            assert_close(network(states, n, 1 + place), averages[place])
    leaves = [np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(it)]) for it in averages]
    assert np.abs(leaves[0] - leaves[2]).max() > 1e-3, "time scales differ"


@pytest.mark.parametrize("stream", [STREAM, NUMBERS], ids=["classes", "numbers"])
def test_all_networks_answer_and_their_answer_is_stored(stream):
    loss = None if stream is STREAM else mean_squared_error
    learner = MultiTimescaleMER(**REPLAY, shortest_time_scale=2, loss=loss)
    states, infos = learn(learner, stream)
    for n in range(1, N):
        outputs = np.stack([network(states, n - 1, which)(stream.x[n]) for which in range(5)])
        if stream is STREAM:
            expected = np.log(np.exp(jax.nn.log_softmax(outputs)).mean(axis=0))
        else:
            expected = outputs.mean(axis=0)
        assert_close(infos.outputs[n], expected)
    last = jax.tree.map(lambda leaf: leaf[-1], states.memory.examples)
    assert (last.position > 0).any()
    for slot, position in enumerate(last.position):
        assert_close(last.x[slot], stream.x[position])
        answered = infos.outputs[position]
        assert_close(last.answer[slot], answered if stream is NUMBERS else jnp.exp(answered))


def test_the_share_of_a_stored_answer_grows_with_the_replays_of_its_example():
    learner = MultiTimescaleMER(500, replay_batch_size=20, batches_per_example=5, stored_share=0.6)
    shares = learner.shares(jnp.asarray([[0, 100, 500, 10**7]]))
    np.testing.assert_allclose(shares, [[0, 0.6 * 20 / 120, 0.3, 0.6]], rtol=1e-3)


def test_a_memory_is_learned_with_the_share_of_its_age():
    learner = MultiTimescaleMER(**{**REPLAY, "memory_size": N}, n_time_scales=1)
    states, _ = learn(learner)
    state = jax.tree.map(lambda leaf: leaf[-1], states)
    slots = jnp.asarray([[1, 9, 4], [0, 7, 2]], jnp.int32)
    draws = Draws(slots, jnp.asarray(0, jnp.int32), jnp.asarray(0, jnp.int32))
    arriving = Example(jnp.ones(3), jnp.asarray(1, jnp.int32), jnp.asarray(0, jnp.int32))
    after, info = learner.observe_with(state, arriving, draws)
    answers = states.memory.examples.answer[-1]
    model = jax.tree.map(lambda leaf: leaf[0], state.networks)
    for batch in slots:
        start = model
        rows = [(arriving.x, arriving.y, info.outputs, 0.0)]
        for slot in batch.tolist():
            replays = (N - slot) * 2 * 3 / N  # the memory holds the whole stream in order
            rows.append((X[slot], jnp.asarray(STREAM.y[slot]), answers[slot], 0.5 * replays / (replays + 100)))
        for x, y, answer, share in rows:
            grads = jax.grad(lambda it, x=x, row=(y, answer, share): learner.mixed_loss(it(x), row))(model)
            model = jax.tree.map(lambda old, by: old - 0.2 * by, model, grads)
        model = jax.tree.map(lambda old, new: old + 0.4 * (new - old), start, model)
    assert_close(jax.tree.map(lambda leaf: leaf[0], after.networks), model)


def test_the_loss_on_a_memory_mixes_label_and_stored_answer():
    learner = MultiTimescaleMER(**REPLAY)
    outputs, answered = jnp.asarray([1.0, -1.0, 0.5, 0.0]), jnp.asarray([0.0, 3.0, -2.0, 1.0])
    answer = jax.nn.softmax(answered)
    label = jnp.asarray(2, jnp.int32)
    of_label = -jax.nn.log_softmax(outputs)[2]
    mixed = learner.mixed_loss(outputs, (label, answer, jnp.asarray(0.25)))
    np.testing.assert_allclose(mixed, 0.75 * of_label + 0.25 * departure(outputs, answer), rtol=1e-6)
    slope = jax.grad(departure)(outputs, answer)
    np.testing.assert_allclose(slope, jax.nn.softmax(outputs / 2) - jax.nn.softmax(answered / 2), atol=1e-6)
    np.testing.assert_allclose(jax.grad(departure)(answered + 7, answer), 0, atol=1e-6)


def test_a_class_that_had_not_appeared_was_not_the_answer():
    """Where a memory is widened, its answers have zeros for the outputs to come."""
    narrow, wide = jnp.asarray([0.2, 0.8]), jnp.asarray([0.2, 0.8, 0.0])
    outputs = jnp.asarray([1.0, -1.0, 0.5])
    slope = jax.grad(departure)(outputs, wide)
    np.testing.assert_allclose(slope[2], jax.nn.softmax(outputs / 2)[2], atol=1e-6)
    np.testing.assert_allclose(
        jax.grad(departure)(outputs[:2], narrow),
        jax.grad(departure)(outputs - jnp.asarray([0, 0, 90.0]), wide)[:2],
        atol=1e-6,
    )


def test_stored_answers_have_an_influence():
    one, other = (learn(MultiTimescaleMER(**REPLAY, stored_share=share))[0] for share in (0.0, 1.0))
    differences = jax.tree.map(lambda a, b: np.abs(a[-1] - b[-1]).max(), one.networks, other.networks)
    assert max(jax.tree.leaves(differences)) > 1e-4
