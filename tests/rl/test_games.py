"""What holds for both games, with numbers or frames as observations."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.rl.games.catcher import Catcher
from perdure.rl.games.flappy_bird import FlappyBird
from perdure.rl.games.frames import FrameObservations, small_frames

GAMES = {"catcher": Catcher(), "flappy_bird": FlappyBird()}
SEEN_AS = {
    "catcher": Catcher(),
    "catcher, frames": FrameObservations(Catcher()),
    "catcher, small frames": small_frames(Catcher()),
    "flappy_bird": FlappyBird(),
    "flappy_bird, frames": FrameObservations(FlappyBird()),
}


@pytest.fixture(scope="module", params=SEEN_AS)
def environment(request):
    return SEEN_AS[request.param]


class Playing(NamedTuple):
    game: Any
    play: Any
    """(keys, level, habit): steps of as many games, leaves (games, 200, ...), action 0 with probability `habit`."""


@pytest.fixture(scope="module", params=GAMES)
def playing(request):
    game = GAMES[request.param]

    def play(key, params, habit):
        def frame(state, key):
            habit_key, action_key, step_key = jax.random.split(key, 3)
            other = jax.random.randint(action_key, (), 1, game.num_actions, jnp.int32)
            action = jnp.where(jax.random.uniform(habit_key) < habit, 0, other)
            step = game.step_env(step_key, state, action, params)
            _, first = game.reset(step_key, params)
            return jax.tree.map(lambda reset, state: jnp.where(step.done, reset, state), first, step.state), step

        first_key, key = jax.random.split(key)
        return jax.lax.scan(frame, game.reset(first_key, params)[1], jax.random.split(key, 200))[1]

    return Playing(game, jax.jit(jax.vmap(play, in_axes=(0, None, None))))


def some_keys(seed):
    return jax.random.split(jax.random.key(seed), 8)


def assert_same(ours, theirs):
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


class FirstStep(NamedTuple):
    begin: Any
    """(key, action, params): first observation and state of an episode, and the step that the action leads to."""
    traced: list[int]
    levels: Any


@pytest.fixture(scope="module")
def first_step(environment):
    traced = []

    def begin(key, action, params):
        traced.append(1)
        seen, state = environment.reset(key, params)
        return seen, state, tuple(environment.step(key, state, action, params))

    return FirstStep(begin, traced, environment.levels)


def test_side_by_side_and_alone_are_the_same(first_step):
    keys, actions = jax.random.split(jax.random.key(0), 3), jnp.arange(3, dtype=jnp.int32) % 2
    many = jax.jit(jax.vmap(first_step.begin, in_axes=(0, 0, None)))(keys, actions, first_step.levels[2])
    one = jax.jit(first_step.begin)
    for i in range(3):
        assert_same(one(keys[i], actions[i], first_step.levels[2]), jax.tree.map(lambda leaf, i=i: leaf[i], many))


def test_another_level_needs_no_compilation(first_step):
    one = jax.jit(first_step.begin)
    one(jax.random.key(0), jnp.int32(0), first_step.levels[2])
    traced = len(first_step.traced)
    for params in first_step.levels:
        one(jax.random.key(0), jnp.int32(0), params)
    assert len(first_step.traced) == traced


def test_compiled_and_not_are_the_same():
    game = Catcher()
    key, params = jax.random.key(0), game.default_params
    state = game.reset(key, params)[1]
    assert_same(
        tuple(game.step(key, state, jnp.int32(0), params)), tuple(jax.jit(game.step)(key, state, jnp.int32(0), params))
    )


def test_levels_change_the_game(playing):
    easy, hard = (playing.play(some_keys(3), playing.game.levels[level], 0.3).state for level in (0, -1))
    assert any((a != b).any() for a, b in zip(easy, hard, strict=True))


def test_after_the_end_of_an_episode_comes_the_first_state_of_the_next(environment):
    params = environment.levels[-1]._replace(max_steps_in_episode=jnp.int32(25))
    key = jax.random.key(1)
    _, state = jax.jit(environment.reset)(key, params)
    step, step_env, reset = map(jax.jit, (environment.step, environment.step_env, environment.reset))
    n_ends = 0
    for frame in range(60):
        key, now = jax.random.split(key)
        action = jnp.int32(frame % environment.num_actions)
        after = step(now, state, action, params)
        step_key, reset_key = jax.random.split(now)
        last = step_env(step_key, state, action, params)
        assert_same((after.reward, after.done, after.info), (last.reward, last.done, last.info))
        expected = reset(reset_key, params) if after.done else (last.observation, last.state)
        assert_same((after.observation, after.state), expected)
        n_ends += int(after.done)
        state = after.state
    assert n_ends > 1


def test_ends_of_the_game_and_of_the_time_are_told_apart(playing):
    params = playing.game.default_params._replace(max_steps_in_episode=jnp.int32(45))
    steps = playing.play(some_keys(0), params, 0.1)
    terminated, truncated = steps.info["terminated"], steps.info["truncated"]
    assert truncated.any()
    assert not (terminated & truncated).any()
    np.testing.assert_array_equal(steps.done, terminated | truncated)
    np.testing.assert_array_equal(steps.info["discount"], np.where(terminated, 0.0, 1.0))
    assert (steps.reward[truncated] > -5).all()
    assert (steps.reward[terminated] <= -4).all()
    if isinstance(playing.game, FlappyBird):
        assert terminated.any()


def test_an_end_by_the_game_in_the_last_frame_of_the_time_is_the_games():
    game = Catcher()
    params = game.default_params._replace(max_steps_in_episode=jnp.int32(1))
    _, state = game.reset(jax.random.key(0), params)
    state = state._replace(lives=jnp.int32(1), fruit_y=jnp.int32(64))
    step = game.step_env(jax.random.key(0), state, jnp.int32(0), params)
    assert step.done
    assert step.info["terminated"]
    assert not step.info["truncated"]
    assert step.reward == -6


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), level=st.integers(0, 5), habit=st.floats(0, 1))
def test_observations_stay_in_their_range(playing, seed, level, habit):
    steps = playing.play(some_keys(seed), playing.game.levels[level], habit)
    assert steps.observation.dtype == np.float32
    assert np.isfinite(steps.observation).all()
    assert np.abs(steps.observation).max() <= 1
    assert set(np.unique(steps.reward)) <= {-6.0, -5.0, -4.0, -1.0, 0.0, 1.0}


@pytest.mark.parametrize("name", GAMES)
def test_the_time_limit_is_a_thousand_frames_by_default(name):
    game = GAMES[name]
    assert {int(level.max_steps_in_episode) for level in game.levels} == {1000}
    params = game.default_params
    _, state = game.reset(jax.random.key(0), params)
    for time, truncated in ((998, False), (999, True)):
        late = state._replace(time=jnp.int32(time))
        assert game.step_env(jax.random.key(0), late, jnp.int32(1), params).info["truncated"] == truncated


@pytest.mark.parametrize("name", GAMES)
def test_states_are_whole_numbers_and_float32(name):
    game = GAMES[name]
    _, state = game.reset(jax.random.key(0), game.default_params)
    assert {leaf.dtype for leaf in state} <= {jnp.dtype(t) for t in (jnp.int32, jnp.float32, bool)}
    step = game.step_env(jax.random.key(0), state, jnp.int32(0), game.default_params)
    assert [leaf.dtype for leaf in step.state] == [leaf.dtype for leaf in state]
