"""Ends of episodes mean the same to an agent, whichever library's environment it plays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import perdure
from perdure.models import MLP
from perdure.rl import runner
from perdure.rl.environment import Step
from perdure.rl.episode_ends import step
from perdure.rl.schedule import Stage, make_schedule

AGENT = perdure.rl.DQN(
    learning_rate=0.01,
    memory_size=64,
    replay_batch_size=4,
    discount=0.9,
    target_period=5,
    exploration_end=1.0,
    exploration_frames=1,
    warmup_frames=1000,
)


def ends(environment, params, actions):
    """Return (terminated, truncated, discount) after each action of an episode."""
    found, (_, state) = [], environment.reset(jax.random.key(0), params)
    for action in actions:
        after = step(environment, jax.random.key(1), state, jnp.int32(action), params)
        state = after.state
        assert bool(after.done) == bool(after.info["terminated"] | after.info["truncated"])
        found.append(tuple(float(after.info[name]) for name in ("terminated", "truncated", "discount")))
    return found


PLAYING, TERMINATED, TRUNCATED = (0, 0, 1), (1, 0, 0), (0, 1, 1)


def test_an_end_of_the_game_and_a_time_limit_are_told_apart(any_corridor, level):
    assert ends(any_corridor, level(3, limit=5), [1, 1, 1]) == [PLAYING, PLAYING, TERMINATED]
    assert ends(any_corridor, level(3, limit=4), [0, 1, 0, 0]) == [PLAYING, PLAYING, PLAYING, TRUNCATED]
    assert ends(any_corridor, level(3, limit=1), [0]) == [TRUNCATED]


def test_an_end_of_the_game_in_the_last_frame_of_the_time_is_the_games(any_corridor, level):
    expected = TERMINATED if any_corridor.tells_both_apart else TRUNCATED
    assert ends(any_corridor, level(2, limit=2), [1, 1]) == [PLAYING, expected]


def test_a_discount_of_ones_own_is_kept(corridor, level, monkeypatch):
    monkeypatch.setattr(corridor, "_end", lambda there, late: (late, {"discount": jnp.where(there, 0.0, 0.75)}))
    assert ends(corridor, level(3, limit=2), [0, 1]) == [(0, 0, 0.75), (0, 1, 0.75)]


def check_that_the_time_limit_ends_episodes(environment, params):
    """Play 45 frames with random actions, where only the limit of 9 ends episodes."""
    schedule = make_schedule([params], [Stage(0, 45)])
    frames = jnp.asarray(0), jnp.asarray(45)
    network = MLP(2, 2, (), key=jax.random.key(0))
    state = runner.init_runner(AGENT, environment, network, params, jax.random.key(1))
    play = jax.jit(lambda state: runner.play_frames(AGENT, environment, state, schedule, jax.random.key(2), *frames))
    state = play(state)
    assert int(state.episodes) == 5
    np.testing.assert_array_equal(state.agent.learning.memory.examples.discount[:45], 1.0)


def test_a_time_limit_ends_episodes_and_is_no_end_to_the_values(any_corridor, level):
    check_that_the_time_limit_ends_episodes(any_corridor, level(100, limit=9))


def test_an_ignored_time_limit_is_caught(corridor, level, monkeypatch):
    def without_limit(environment, key, state, action, params):
        after = step(environment, key, state, action, params)
        return after._replace(done=after.info["terminated"])

    monkeypatch.setattr(runner, "step", without_limit)
    with pytest.raises(AssertionError):
        check_that_the_time_limit_ends_episodes(corridor, level(100, limit=9))


def test_a_time_limit_taken_for_the_end_of_the_game_is_caught(corridor, level, monkeypatch):
    def final(environment, key, state, action, params):
        after = step(environment, key, state, action, params)
        return after._replace(info={**after.info, "discount": 1 - after.done.astype(jnp.float32)})

    monkeypatch.setattr(runner, "step", final)
    with pytest.raises(AssertionError):
        check_that_the_time_limit_ends_episodes(corridor, level(100, limit=9))


def test_evaluation_stops_at_the_time_limit(any_corridor, level, monkeypatch):
    frames = []

    def counted(*arguments):
        jax.debug.callback(lambda: frames.append(1))
        return step(*arguments)

    monkeypatch.setattr(runner, "step", counted)
    levels = jax.tree.map(lambda leaf: leaf[None], level(100, limit=9))
    scores = runner.greedy_scores(any_corridor, lambda x: jnp.zeros(2), levels, 1, jax.random.key(0))
    np.testing.assert_array_equal(scores, [[0.0]])
    jax.effects_barrier()
    assert len(frames) == 9


def test_steps_of_perdures_games_pass_unchanged():
    game = perdure.rl.make_game("catcher")
    params = game.default_params
    _, state = game.reset(jax.random.key(0), params)
    theirs = game.step_env(jax.random.key(1), state, jnp.int32(0), params)
    ours = step(game, jax.random.key(1), state, jnp.int32(0), params)
    assert isinstance(ours, Step)
    jax.tree.map(np.testing.assert_array_equal, tuple(ours), tuple(theirs))
