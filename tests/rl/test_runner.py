"""Playing: what is remembered of the ends of episodes, division into chunks, greedy scores, and that agents learn."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.models import MLP
from perdure.rl.agent import DQN
from perdure.rl.runner import greedy_scores, init_runner, play_frames
from perdure.rl.schedule import Stage, make_schedule, stack_params

pytestmark = pytest.mark.long

AGENT = DQN(
    learning_rate=0.01,
    memory_size=64,
    replay_batch_size=4,
    discount=0.9,
    target_period=5,
    exploration_end=1.0,
    exploration_frames=1,
    warmup_frames=4,
)


def first_state(corridor, params):
    return init_runner(AGENT, corridor, MLP(2, 2, (4,), key=jax.random.key(0)), params, jax.random.key(1))


def played(corridor, runner, schedule, *ends):
    play = jax.jit(
        lambda runner, start, stop: play_frames(AGENT, corridor, runner, schedule, jax.random.key(2), start, stop)
    )
    for start, stop in zip((0, *ends[:-1]), ends, strict=True):
        runner = play(runner, jnp.asarray(start), jnp.asarray(stop))
    return runner


class Always(eqx.Module):
    """A network that always prefers the same action."""

    action: int = eqx.field(static=True)

    def __call__(self, x):
        return jax.nn.one_hot(self.action, 2)


def test_the_end_of_the_game_stops_the_discount_and_a_time_limit_does_not(corridor, level):
    params = level(3, limit=4)
    runner = played(corridor, first_state(corridor, params), make_schedule([params], [Stage(0, 64)]), 40)
    remembered = runner.agent.learning.memory.examples
    at_the_end = np.asarray(remembered.next_observation[:40, 0]) >= 1 - 1e-6
    np.testing.assert_array_equal(np.asarray(remembered.discount[:40]), 1.0 - at_the_end)
    np.testing.assert_array_equal(np.asarray(remembered.reward[:40]), at_the_end.astype(np.float32))
    # The last observation of an episode is its own, not the first of the next episode.
    moved = np.asarray(remembered.action[:40]) == 1
    before, after = (np.asarray(leaf[:40, 0]) for leaf in (remembered.observation, remembered.next_observation))
    np.testing.assert_allclose(after, before + moved / 3, atol=1e-6)
    assert 0 < at_the_end.sum() < int(runner.episodes)  # some episodes met the time limit
    assert float(runner.total_score) == at_the_end.sum()


def test_division_into_chunks_changes_nothing(corridor, level):
    schedule = make_schedule(corridor.levels, [Stage(0, 10), Stage(1, 20)])
    whole = played(corridor, first_state(corridor, level(2)), schedule, 30)
    parts = played(corridor, first_state(corridor, level(2)), schedule, 7, 10, 11, 30)
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_greedy_scores_are_those_of_whole_episodes_at_each_level(corridor, level):
    levels = stack_params([level(2), level(4), level(20)])
    on, off = (greedy_scores(corridor, Always(action), levels, 3, jax.random.key(0)) for action in (1, 0))
    np.testing.assert_array_equal(on, [[1] * 3, [1] * 3, [0] * 3])  # the last corridor is longer than the time limit
    np.testing.assert_array_equal(off, np.zeros((3, 3)))


def test_an_agent_learns_to_walk_to_the_end(corridor, level):
    agent = dataclasses.replace(AGENT, exploration_end=0.3)
    params = level(3)
    runner = init_runner(agent, corridor, MLP(2, 2, (16,), key=jax.random.key(0)), params, jax.random.key(1))
    schedule = make_schedule([params], [Stage(0, 400)])
    runner = play_frames(agent, corridor, runner, schedule, jax.random.key(2), jnp.asarray(0), jnp.asarray(400))
    scores = greedy_scores(corridor, runner.agent.learning.model, stack_params([params]), 1, jax.random.key(3))
    assert float(scores[0, 0]) == 1
