"""Agents in the environments of gymnax."""

import json

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.wrappers import FlattenObservationWrapper, LogWrapper

import perdure
from perdure.rl.checks import check_environment, environment_and_levels
from perdure.rl.environment import GymnaxLike
from perdure.rl.episode_ends import step

pytestmark = pytest.mark.usefixtures("mixed_dtypes")
AGENT = perdure.rl.DQN(
    learning_rate=0.001,
    memory_size=500,
    replay_batch_size=8,
    discount=0.99,
    target_period=100,
    exploration_end=0.05,
    exploration_frames=500,
    warmup_frames=100,
)


@pytest.fixture
def mixed_dtypes():
    """Let JAX promote dtypes as it does by default, which gymnax relies on; other tests do not allow it."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.long
@pytest.mark.parametrize(("name", "shape"), [("CartPole-v1", (4,)), ("Breakout-MinAtar", (10, 10, 4))])
def test_an_agent_plays_levels_of_a_gymnax_environment(name, shape, tmp_path):
    environment, params = gymnax.make(name)
    assert isinstance(environment, GymnaxLike)
    observation, _ = environment.reset(jax.random.key(0), params)
    assert observation.shape == shape
    short = params.replace(max_steps_in_episode=30)
    result = perdure.run_agent(
        AGENT,
        environment,
        levels=[short, params.replace(max_steps_in_episode=40)],
        stages=[(0, 600), (1, 600)],
        seeds=2,
        episodes=2,
        folder=tmp_path / "r",
        progress=False,
    )
    assert result.scores.shape == (2, 3, 2)
    assert np.isfinite(result.scores).all()
    assert int(result.runners.episodes.min()) >= 1200 // 40
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["environment"]["observation"] == "own"
    assert config["levels"][0] != config["levels"][1]


@pytest.mark.long
def test_the_time_limit_of_mountain_car_ends_its_episodes():
    environment, _ = gymnax.make("MountainCar-v0")
    result = perdure.run_agent(AGENT, environment, stages=[(0, 1000)], episodes=2, progress=False)
    np.testing.assert_array_equal(result.scores, -200.0)
    assert int(result.runners.episodes[0]) == 5
    assert float(result.runners.total_score[0]) == -1000
    remembered = result.runners.agent.learning.memory.examples
    np.testing.assert_array_equal(remembered.discount, 1.0)  # the limit is no end to the values


def test_the_parameters_in_the_pair_are_played():
    environment, params = gymnax.make("MountainCar-v0")
    short = params.replace(max_steps_in_episode=50)
    assert environment_and_levels((environment, short)) == (environment, [short])
    assert environment_and_levels(environment) == (environment, [params])
    assert environment_and_levels((environment, short), [params, short]) == (environment, [params, short])


@pytest.mark.parametrize("name", ["CartPole-v1", "MountainCar-v0", "Acrobot-v1", "Catch-bsuite"])
def test_episodes_end_as_gymnax_ends_them(name):
    environment, params = gymnax.make(name)
    params = params.replace(max_steps_in_episode=9)
    ours = jax.jit(lambda *rest: step(environment, *rest))
    first, seen = jax.random.key(0), set()
    _, state = environment.reset(first, params)
    for key in jax.random.split(jax.random.key(1), 60):
        # gymnax's `step` starts anew with this part of the key.
        step_key, _ = jax.random.split(key)
        action = jax.random.randint(key, (), 0, environment.num_actions, jnp.int32)
        _, next_state, reward, terminated, truncated, info = environment.step(key, state, action, params)
        after = ours(step_key, state, action, params)
        assert (bool(after.info["terminated"]), bool(after.done)) == (bool(terminated), bool(terminated | truncated))
        assert bool(after.info["truncated"]) == bool(truncated & ~terminated)
        assert float(after.info["discount"]) == 1 - float(terminated)
        np.testing.assert_array_equal(after.observation, info["final_observation"])
        assert float(after.reward) == float(reward)
        seen.add((bool(terminated), bool(truncated)))
        state = next_state
    assert len(seen) > 1


@pytest.mark.parametrize("name", ["Pendulum-v1", "MountainCarContinuous-v0", "Reacher-misc", "PointRobot-misc"])
def test_continuous_actions_are_refused(name):
    with pytest.raises(ValueError, match=rf"the actions of {name} are Box\(.*expected numbered actions"):
        perdure.run_agent(AGENT, gymnax.make(name)[0], stages=[(0, 1000)], episodes=2, progress=False)


@pytest.mark.parametrize(
    ("name", "words"), [("FourRooms-misc", r"int32 of shape \(4,\)"), ("FrozenLake-misc", r"int32 of shape \(\)")]
)
def test_observations_that_no_network_takes_are_refused(name, words):
    with pytest.raises(ValueError, match=rf"observations of {name} are {words}.*expected floats"):
        perdure.run_agent(AGENT, gymnax.make(name), stages=[(0, 1000)], progress=False)


@pytest.mark.long
def test_wrappers_are_refused_where_they_have_no_step_env():
    environment, _ = gymnax.make("Breakout-MinAtar")
    check_environment(environment)
    for wrapper in (LogWrapper, FlattenObservationWrapper):
        with pytest.raises(ValueError, match="Of a wrapper that has no step_env of its own, give the environment"):
            check_environment(wrapper(environment))
