"""DQN with elastic weight consolidation: Fisher information, penalty and step against direct computation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import perdure
from perdure.memory.buffer import draw_slots
from perdure.rl.agent import DQN
from perdure.rl.elastic import DQNEWC
from perdure.rl.transition import td_targets
from tests.rl.test_agent import COMMON, network, transition

EWC = DQNEWC(**dict(COMMON, memory_size=8), strength=3.0, fisher_transitions=5)
PLAIN = DQN(**dict(COMMON, memory_size=8))


def played(agent, numbers, state=None):
    observe = jax.jit(agent.observe)
    state = agent.init(network(), transition(0)) if state is None else state
    for number in numbers:
        state = observe(state, transition(number), jnp.asarray(number), jax.random.key(number))
    return state


def squared_derivatives(model, target_network, transitions):
    """Return the mean over transitions of the squared derivative of their Huber losses, written out."""
    squares = []
    for place in range(len(transitions.reward)):
        one = jax.tree.map(lambda leaf, place=place: leaf[place], transitions)
        target = jnp.clip(one.reward, -1, 1) + 0.9 * one.discount * jnp.max(target_network(one.next_observation))

        def loss(net, one=one, target=target):
            error = net(one.observation)[one.action] - target
            return jnp.where(jnp.abs(error) <= 1, error**2 / 2, jnp.abs(error) - 0.5)

        squares.append(ravel_pytree(jax.grad(loss)(model))[0] ** 2)
    return np.mean(squares, axis=0)


def test_the_end_of_a_stage_adds_its_fisher_information():
    state, key = played(EWC, range(8)), jax.random.key(3)
    slots = draw_slots(state.learning.memory, (1, 5), key)[0]
    drawn = jax.tree.map(lambda leaf: leaf[slots], state.learning.memory.examples)
    information = squared_derivatives(state.learning.model, state.target, drawn)
    assert (information > 0).any()
    weights, _ = ravel_pytree(state.learning.model)
    after = jax.jit(EWC.end_stage)(state, jnp.asarray(8), key)
    found = after.learning.optimizer.consolidation
    np.testing.assert_allclose(ravel_pytree(found.stiffness)[0], information, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(ravel_pytree(found.pull)[0], information * weights, rtol=1e-4, atol=1e-9)
    twice = jax.jit(EWC.end_stage)(after, jnp.asarray(8), key).learning.optimizer.consolidation
    np.testing.assert_allclose(ravel_pytree(twice.stiffness)[0], 2 * information, rtol=1e-4, atol=1e-9)


def test_steps_are_adams_on_loss_and_penalty():
    state = jax.jit(EWC.end_stage)(played(EWC, range(8)), jnp.asarray(8), jax.random.key(3))
    state = played(EWC, [8], state)  # away from the anchor, where the penalty has no slope
    key = jax.random.key(11)
    after = jax.jit(EWC.observe)(state, transition(11), jnp.asarray(11), key)

    slots = EWC.replay().draw(state.learning.memory, key).slots[0]
    drawn = jax.tree.map(lambda leaf: leaf[slots], state.learning.memory.examples)
    targets = td_targets(state.target, drawn, 0.9).value
    stiffness, pull = (ravel_pytree(it)[0] for it in state.learning.optimizer.consolidation)
    start, unravel = ravel_pytree(state.learning.model)

    def loss(weights):
        values = jax.vmap(unravel(weights))(drawn.observation)[jnp.arange(2), drawn.action]
        # Σ F (θ − θ*)² up to a constant
        return jnp.mean(optax.huber_loss(values, targets)) + 3.0 * jnp.sum(stiffness * weights**2 - 2 * pull * weights)

    penalty = 6.0 * (stiffness * start - pull)
    assert np.abs(penalty).max() > 1e-4
    adam = optax.adam(0.1)
    moments = jax.tree.map(lambda leaf: leaf, state.learning.optimizer.adam)
    with jax.numpy_dtype_promotion("standard"):  # optax counts on it
        updates, _ = adam.update(unravel(jax.grad(loss)(start)), moments)
    expected = start + ravel_pytree(updates)[0]
    np.testing.assert_allclose(ravel_pytree(after.learning.model)[0], expected, rtol=1e-4, atol=1e-5)


def test_before_the_end_of_the_first_stage_it_is_dqn():
    same = jax.tree.map(
        lambda one, other: np.array_equal(one, other),
        played(EWC, range(9)).learning.model,
        played(PLAIN, range(9)).learning.model,
    )
    assert all(jax.tree.leaves(same))


@pytest.mark.parametrize("environment", ["catcher", pytest.param("gymnasium:CartPole-v1", marks=pytest.mark.long)])
def test_a_run_tells_the_agent_of_the_end_of_each_stage(environment):
    agent = DQNEWC(**dict(COMMON, warmup_frames=900), strength=1.0, fisher_transitions=4)
    stages = [(0, 1_000)]
    result = perdure.run_agent(
        agent, environment, stages=stages, seeds=2, evaluate_every=1_000, episodes=1, progress=False
    )
    stiffness = result.runners.agent.learning.optimizer.consolidation.stiffness
    for seed in range(2):
        assert ravel_pytree(jax.tree.map(lambda leaf, seed=seed: leaf[seed], stiffness))[0].max() > 0
