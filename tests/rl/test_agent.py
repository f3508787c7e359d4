"""The agents: targets, batches and steps against direct computation, and what the memory keeps."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.models import MLP
from perdure.rl.agent import DQN, DQNMER
from perdure.rl.catalog import agent_class, agent_name
from perdure.rl.transition import Target, Transition, td_loss, td_squared_loss, td_targets

COMMON: dict[str, Any] = {
    "learning_rate": 0.1,
    "memory_size": 4,
    "replay_batch_size": 2,
    "discount": 0.9,
    "target_period": 3,
    "exploration_end": 0.1,
    "exploration_frames": 10,
    "warmup_frames": 1,
}
MER = {"beta": 0.5, "gamma": 0.3, "batches_per_frame": 2}


def network(seed=0):
    return MLP(2, 3, (4,), key=jax.random.key(seed))


def transition(number, discount=1.0):
    keys = jax.random.split(jax.random.key(number))
    seen, then = (jax.random.normal(key, (2,)) for key in keys)
    return Transition(seen, jnp.asarray(number % 3, jnp.int32), jnp.asarray(number / 2), jnp.asarray(discount), then)


def after_transitions(agent, count):
    """Return the agent's state after a number of transitions."""
    state = agent.init(network(), transition(0))
    for number in range(count):
        state = agent.observe(state, transition(number), jnp.asarray(number), jax.random.key(number))
    return state


@pytest.mark.parametrize(("error", "loss", "gradient"), [(0.5, 0.125, 0.5), (-3.0, 2.5, -1.0), (7.0, 6.5, 1.0)])
def test_the_loss_is_hubers_of_the_action_taken_alone(error, loss, gradient):
    y = Target(jnp.asarray(1, jnp.int32), jnp.asarray(2.0))
    value, by = jax.value_and_grad(td_loss)(jnp.asarray([10.0, 2.0 + error, -10.0]), y)
    np.testing.assert_allclose(value, loss)
    np.testing.assert_allclose(by, [0, gradient, 0])


@pytest.mark.parametrize(("error", "loss"), [(0.5, 0.125), (-3.0, 4.5)])
def test_the_squared_loss_grows_with_the_error_beyond_one(error, loss):
    y = Target(jnp.asarray(1, jnp.int32), jnp.asarray(2.0))
    value, by = jax.value_and_grad(td_squared_loss)(jnp.asarray([10.0, 2.0 + error, -10.0]), y)
    np.testing.assert_allclose(value, loss)
    np.testing.assert_allclose(by, [0, error, 0])


@pytest.mark.parametrize(("its_class", "more"), [(DQN, {}), (DQNMER, MER)])
def test_agents_learn_with_the_loss_that_is_chosen(its_class, more):
    losses = {name: its_class(**COMMON, **more, loss=name).learner().loss for name in ("huber", "squared")}
    assert losses == {"huber": td_loss, "squared": td_squared_loss}
    assert its_class(**COMMON, **more).learner().loss is td_loss
    with pytest.raises(ValueError, match="loss = 'absolute', expected one of huber, squared"):
        its_class(**COMMON, **more, loss="absolute")


def test_targets_stop_at_the_end_of_the_game_only():
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), transition(1), transition(2, discount=0.0))
    targets = td_targets(network(), batch, 0.9)
    best = np.max(network()(batch.next_observation[0]))
    np.testing.assert_allclose(targets.value, [0.5 + 0.9 * best, 1.0], rtol=1e-6)
    wide = batch._replace(reward=jnp.asarray([-6.0, 3.0]), discount=jnp.zeros(2))
    np.testing.assert_array_equal(td_targets(network(), wide, 0.9).value, [-1, 1])
    np.testing.assert_array_equal(targets.action, [1, 2])


def test_dqn_mer_takes_the_steps_of_algorithm_1():
    agent = DQNMER(**COMMON, **MER)
    before, arriving = after_transitions(agent, 5), transition(7)
    key = jax.random.key(9)
    after = agent.observe(before, arriving, jnp.asarray(5), key)

    slots = np.asarray(agent.learner().draw(before.learning.memory, key).slots)
    remembered = before.learning.memory.examples
    start = weights = before.learning.model
    for batch in slots:
        first = weights
        for one in [arriving, *(jax.tree.map(lambda leaf, slot=slot: leaf[slot], remembered) for slot in batch)]:
            target = jnp.clip(one.reward, -1, 1) + 0.9 * one.discount * jnp.max(before.target(one.next_observation))

            def loss(net, one=one, target=target):
                error = net(one.observation)[jnp.asarray(one.action, jnp.int32)] - target
                return jnp.where(jnp.abs(error) <= 1, error**2 / 2, jnp.abs(error) - 0.5)

            weights = jax.tree.map(lambda w, g: w - 0.1 * g, weights, jax.grad(loss)(weights))
        weights = jax.tree.map(lambda w, w0: w0 + 0.5 * (w - w0), weights, first)
    expected = jax.tree.map(lambda w, w0: w0 + 0.3 * (w - w0), weights, start)
    for found, wanted in zip(jax.tree.leaves(after.learning.model), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.long
def test_a_ring_keeps_the_last_and_a_reservoir_is_offered_all():
    ring = after_transitions(DQN(**COMMON), 7).learning.memory
    np.testing.assert_allclose(sorted(np.asarray(ring.examples.reward)), [1.5, 2.0, 2.5, 3.0])
    reservoir = after_transitions(DQN(**COMMON, memory_rule="reservoir"), 7).learning.memory
    assert int(reservoir.seen) == 7
    assert set(np.asarray(reservoir.examples.reward).tolist()) <= {number / 2 for number in range(7)}
    halves = after_transitions(DQN(**COMMON, memory_rule="halves"), 7).learning.memory
    newest, older = np.split(np.asarray(halves.examples.reward), 2)
    assert sorted(newest) == [2.5, 3.0]
    assert set(older.tolist()) <= {0.0, 0.5, 1.0, 1.5, 2.0}


def test_a_memory_of_two_halves_needs_an_even_size():
    with pytest.raises(ValueError, match="memory_size = 5, expected an even number"):
        DQN(**dict(COMMON, memory_size=5), memory_rule="halves")
    with pytest.raises(ValueError, match="memory_rule = 'half', expected one of ring, reservoir, halves"):
        DQN(**COMMON, memory_rule="half")


@pytest.mark.parametrize("agent", [DQN(**COMMON), DQNMER(**COMMON, **MER)])
def test_the_target_network_follows_every_few_frames(agent):
    two, three = after_transitions(agent, 2), after_transitions(agent, 3)
    same = jax.tree.map(lambda a, b: bool((a == b).all()), two.target, network())
    assert all(jax.tree.leaves(same))
    same = jax.tree.map(lambda a, b: bool((a == b).all()), three.target, three.learning.model)
    assert all(jax.tree.leaves(same))


@pytest.mark.parametrize(
    "agent", [DQN(**COMMON, target_unit="episodes"), DQNMER(**COMMON, **MER, target_unit="episodes")]
)
def test_the_target_network_follows_every_few_episodes(agent):
    observe = jax.jit(agent.observe)
    state, renewals = agent.init(network(), transition(0)), []
    # Of nine frames, those numbered 1, 2, 4, 6, 7 and 8 end an episode.
    for number, ended in enumerate([0, 1, 2, 0, 3, 0, 4, 5, 6]):
        before = state.target
        frame, key = jnp.asarray(number), jax.random.key(number)
        state = observe(state, transition(number), frame, key, jnp.asarray(ended, jnp.int32))
        changed = jax.tree.map(lambda a, b: bool((a != b).any()), before, state.target)
        if any(jax.tree.leaves(changed)):
            renewals.append(number)
            assert all(jax.tree.leaves(jax.tree.map(lambda a, b: (a == b).all(), state.target, state.learning.model)))
    assert renewals == [4, 8]


@pytest.mark.long
def test_nothing_is_learned_before_the_warmup_is_over():
    agent = DQNMER(**COMMON | {"warmup_frames": 3}, **MER)
    same = jax.tree.map(lambda a, b: bool((a == b).all()), after_transitions(agent, 3).learning.model, network())
    assert all(jax.tree.leaves(same))
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), after_transitions(agent, 4).learning.model, network())
    assert any(jax.tree.leaves(moved))
    assert int(after_transitions(agent, 3).learning.memory.seen) == 3


def test_exploration_falls_and_actions_follow_it():
    agent = DQN(**COMMON)
    found = [agent.exploration(jnp.asarray(frame)) for frame in (0, 5, 10, 99)]
    np.testing.assert_allclose(found, [1.0, 0.55, 0.1, 0.1], rtol=1e-6)
    state = agent.init(network(), transition(0))
    seen = jnp.asarray([0.3, -0.2])
    best = int(jnp.argmax(network()(seen)))

    def share(frame):
        keys = jax.random.split(jax.random.key(frame), 3000)
        actions = jax.vmap(lambda key: agent.act(state, seen, jnp.asarray(frame), key))(keys)
        return np.bincount(np.asarray(actions), minlength=3) / 3000

    np.testing.assert_allclose(share(0), 1 / 3, atol=0.04)
    np.testing.assert_allclose(share(100)[best], 0.9 + 0.1 / 3, atol=0.02)


def test_agents_have_names():
    assert agent_name(agent_class("dqn")(**COMMON)) == "dqn"
    assert agent_name(agent_class("dqn-mer")(**COMMON, **MER)) == "dqn-mer"
    with pytest.raises(ValueError, match=r"unknown agent 'dqm-mer'; did you mean 'dqn-mer'"):
        agent_class("dqm-mer")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"discount": 1.5}, "discount = 1.5, expected a number from 0 to 1"),
        ({"exploration_end": 2.0}, "exploration_end = 2.0, expected a number from 0 to 1"),
        ({"memory_size": 0}, "memory_size = 0, expected a whole number ≥ 1"),
        ({"learning_rate": -1.0}, "learning_rate = -1.0, expected a finite number ≥ 0"),
    ],
)
def test_hyperparameters_out_of_range_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        DQN(**COMMON | wrong)
