"""PPO: advantages and clipped objective against their definitions, the environments in turn, and what it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import perdure
from perdure.experiments.agents.job import AgentJob
from perdure.experiments.agents.plan import make_agent
from perdure.experiments.agents.spec import agent_spec
from perdure.rl.policy_gradient import clipped_loss, entropy, generalised_advantages
from perdure.rl.ppo import PPO
from perdure.rl.transition import Transition

SMALL = {
    "learning_rate": 0.001,
    "environments": 3,
    "rollout_frames": 4,
    "epochs": 2,
    "minibatches": 2,
    "discount": 0.99,
    "trace": 0.95,
    "clip": 0.2,
    "entropy_bonus": 0.01,
}


@pytest.mark.parametrize("trace", [0.0, 0.7, 1.0])
def test_advantages_are_the_sum_of_discounted_errors_up_to_the_episodes_end(trace):
    rng = np.random.default_rng(0)
    frames, n = 9, 3
    rewards, values, next_values = rng.normal(size=(3, frames, n))
    terminated, truncated = rng.random((2, frames, n)) < 0.2
    ended, discounts = terminated | truncated, 0.9 * (1 - terminated)
    errors = rewards + discounts * next_values - values
    expected = np.zeros((frames, n))
    for start in range(frames):
        for place in range(n):
            weight = 1.0
            for frame in range(start, frames):
                expected[start, place] += weight * errors[frame, place]
                if ended[frame, place]:
                    break
                weight *= 0.9 * trace
    r, d, v, then = (jnp.asarray(it, jnp.float32) for it in (rewards, discounts, values, next_values))
    found = generalised_advantages(r, d, jnp.asarray(ended), v, then, trace)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("ratio", "advantage", "moves"),
    [(1.3, 1.0, False), (1.1, 1.0, True), (0.7, 1.0, True), (0.7, -1.0, False), (0.9, -1.0, True), (1.3, -1.0, True)],
)
def test_the_clipped_objective_has_no_gradient_beyond_the_clip(ratio, advantage, moves):
    def loss(log_ratio):
        return clipped_loss(log_ratio[None], jnp.asarray([advantage]), 0.2)

    value, by = jax.value_and_grad(loss)(jnp.log(ratio))
    np.testing.assert_allclose(by, -ratio * advantage if moves else 0.0, rtol=1e-5)
    np.testing.assert_allclose(value, -min(ratio * advantage, np.clip(ratio, 0.8, 1.2) * advantage), rtol=1e-5)


def test_entropy_is_that_of_the_distribution():
    np.testing.assert_allclose(entropy(jnp.asarray([[0.0, 0.0], [50.0, 0.0]])), np.log(2) / 2, rtol=1e-5)


def test_nothing_is_learned_before_the_end_of_a_rollout():
    agent = PPO(**SMALL)
    seen = jnp.asarray([0.5, -1.0])
    one = Transition(seen, jnp.asarray(1, jnp.int32), jnp.asarray(1.0), jnp.asarray(1.0), -seen)
    state = agent.init(agent.make_networks(agent.default_network, seen, 2, jax.random.key(0)), one)
    observe = jax.jit(agent.observe)
    moved = []
    for frame in range(24):
        after = observe(state, one, jnp.asarray(frame), jax.random.key(frame))
        same = jax.tree.map(lambda a, b: bool((a == b).all()), state.model, after.model)
        if not all(jax.tree.leaves(same)):
            moved.append(frame)
        state = after
    assert moved == [11, 23]


@pytest.fixture
def mixed_dtypes():
    """gymnax mixes integers with floats."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.usefixtures("mixed_dtypes")
@pytest.mark.parametrize("environment", ["gymnax:CartPole-v1", "gymnasium:CartPole-v1"])
def test_environments_are_played_in_turn_and_a_run_resumes_between_their_turns(environment):
    options = {"stages": [(0, 501)], "seeds": 2, "evaluate_every": 501, "episodes": 1, "progress": False}
    whole = perdure.run_agent(PPO(**SMALL), environment, **options)
    assert whole.runners.observation.shape == (2, 3, 4)
    assert whole.runners.score.shape == (2, 3)
    # Of CartPole each frame pays 1: what has ended and what is under way are all frames.
    np.testing.assert_array_equal(whole.runners.total_score + whole.runners.score.sum(axis=1), [501, 501])

    def job():
        return AgentJob(agent_spec(PPO(**SMALL), environment, stages=[(0, 501)], seeds=2, evaluate_every=501))

    stopped, resumed = job(), job()
    stopped.compile()
    stopped.advance(250)
    resumed.restore(stopped.snapshot(), 250)
    resumed.compile()
    resumed.advance(501)
    for one, other in zip(jax.tree.leaves(resumed.runners), jax.tree.leaves(whole.runners), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    assert whole.predict(np.zeros((5, 4), np.float32)).shape == (5, 2)


def test_parts_of_unequal_size_are_refused():
    with pytest.raises(ValueError, match="minibatches = 5, expected a number that divides the 12 frames of an update"):
        PPO(**SMALL | {"minibatches": 5})
    with pytest.raises(ValueError, match="minibatches = 12, expected a number that divides the 12 frames"):
        PPO(**SMALL | {"minibatches": 12})


@pytest.mark.long
@pytest.mark.usefixtures("mixed_dtypes")
def test_it_solves_cartpole():
    """Solved is a mean score of 475 of 500 (Gymnasium's own threshold for CartPole-v1)."""
    agent = make_agent("ppo", "CartPole-v1", "state", {})
    result = perdure.run_agent(
        agent, "gymnax:CartPole-v1", stages=[(0, 100_000)], seeds=2, evaluate_every=100_000, progress=False
    )
    assert result.scores[:, -1].mean() >= 475
