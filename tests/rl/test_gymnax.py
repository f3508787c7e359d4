"""Agents in environments of gymnax, as it makes them."""

import json

import gymnax
import jax
import numpy as np
import pytest

import perdure
from perdure.rl.environment import GymnaxLike

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("compile_quickly", "mixed_dtypes")]
AGENT = perdure.DQN(
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
    config = json.loads((tmp_path / "r" / "agent.json").read_text())
    assert config["environment"]["observation"] == "own"
    assert config["levels"][0] != config["levels"][1]
