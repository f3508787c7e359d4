"""The conformance check of agents passes those that learn and catches planted faults."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.learners.replay import ReplayLearner
from perdure.rl.agent import DQN, DQNMER
from perdure.rl.elastic import DQNEWC
from perdure.rl.ppo import PPO
from perdure.rl.stream_q import StreamQ
from perdure.testing import ConformanceError, check_agent

COMMON: dict[str, Any] = {
    "learning_rate": 0.01,
    "memory_size": 200,
    "replay_batch_size": 8,
    "discount": 0.5,
    "target_period": 20,
    "exploration_end": 0.1,
    "exploration_frames": 200,
    "warmup_frames": 20,
}


def common(**changes: Any) -> dict[str, Any]:
    return {**COMMON, **changes}


@pytest.mark.long
@pytest.mark.parametrize(
    "agent",
    [
        pytest.param(DQN(**COMMON), marks=pytest.mark.long),
        DQNMER(**common(learning_rate=0.05), beta=0.3, gamma=1.0, batches_per_frame=2),
        DQN(**common(memory_rule="halves")),
        DQNEWC(**COMMON, strength=1.0, fisher_transitions=10),
        PPO(
            learning_rate=0.02,
            environments=4,
            rollout_frames=16,
            epochs=4,
            minibatches=2,
            discount=0.5,
            trace=0.9,
            clip=0.2,
            entropy_bonus=0.01,
        ),
        StreamQ(learning_rate=1.0, kappa=2.0, trace=0.8, discount=0.5, exploration_end=0.1, exploration_frames=200),
    ],
    ids=["dqn", "dqn-mer", "halves", "dqn-ewc", "ppo", "stream-q"],
)
def test_agents_of_perdure_conform(agent):
    assert check_agent(agent).failures == []


@pytest.mark.long
@pytest.mark.parametrize("agent", [DQN(**common(learning_rate=0.0))], ids=["a rate of zero"])
def test_an_agent_that_learns_nothing_is_caught(agent):
    with pytest.raises(ConformanceError, match=r"(?s)FAILED  it learns.*the network is the same after 1,020 frames"):
        check_agent(agent)


@pytest.mark.long
def test_an_agent_that_diverges_is_caught():
    agent = DQNMER(**common(learning_rate=1e30), beta=1.0, gamma=1.0, batches_per_frame=2)
    with pytest.raises(ConformanceError, match=r"(?s)FAILED  numbers stay finite"):
        check_agent(agent)


@pytest.mark.long
def test_chance_that_is_drawn_while_a_program_is_traced_is_caught(monkeypatch):
    draw = DQN.act

    def act(self, state, observation, frame, key):
        chance = np.random.default_rng().integers(1 << 31)  # never the same twice
        return draw(self, state, observation, frame, jax.random.fold_in(key, int(chance)))

    monkeypatch.setattr(DQN, "act", act)

    with pytest.raises(ConformanceError, match=r"(?s)FAILED  acting and observing are pure"):
        check_agent(DQN(**COMMON))


@pytest.mark.long
def test_an_action_that_is_none_is_caught(monkeypatch):
    monkeypatch.setattr(DQN, "act", lambda self, state, observation, frame, key: jnp.asarray(2, jnp.int32))
    with pytest.raises(ConformanceError, match=r"(?s)FAILED  actions are whole numbers.*expected 0 or 1"):
        check_agent(DQN(**COMMON))


def test_the_learner_of_an_agent_is_one_that_replays():
    assert isinstance(DQN(**COMMON).learner(), ReplayLearner)
    assert jax.tree.leaves(DQN(**COMMON))
