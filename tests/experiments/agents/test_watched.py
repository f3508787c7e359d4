"""Episodes that are looked at: of games, own environments with and without pictures, and of Gymnasium."""

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from perdure.experiments.agents.watched import watched
from perdure.rl.checks import environment_and_levels
from perdure.rl.environment import Step
from perdure.rl.games.pictures import colour_picture
from perdure.rl.games.several import CatcherAndFlappyBird
from perdure.rl.hosted import HostError

BLUE = np.array([10, 20, 200], np.uint8)


class Drawn(gymnasium.Env):
    """Draws a blue picture of 4 × 6; each action pays its number; there is no end."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(3)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.ones(1, np.float32), float(action), False, False, {}

    def render(self):
        return np.tile(BLUE, (4, 6, 1)) if self.render_mode == "rgb_array" else None


class Undrawn(Drawn):
    """Takes no render_mode."""

    def __init__(self):
        super().__init__()


class Compiled:
    """Counts to three; what it draws is set."""

    num_actions = 2
    default_params = jnp.zeros(())

    def reset(self, key, params):
        return jnp.zeros(1), jnp.zeros((), jnp.int32)

    def step_env(self, key, state, action, params):
        return Step(jnp.ones(1), state + 1, jnp.asarray(2.0), state + 1 >= 3, {})


def begun(environment):
    game, levels = environment_and_levels(environment)
    return watched(game, levels[0], 0)


def test_an_environment_of_gymnasium_is_made_with_pictures_and_enlarged():
    game = begun(Drawn)
    assert game.picture().shape == (256, 384, 3)
    assert (game.picture() == BLUE).all()
    assert game.step(2) == (2.0, False)
    np.testing.assert_array_equal(game.observation, [1])
    game.close()


def test_its_time_limit_ends_the_episode():
    game = begun(lambda render_mode=None: gymnasium.wrappers.TimeLimit(Drawn(render_mode), 2))
    assert [game.step(1)[1] for _ in range(2)] == [False, True]


def test_one_that_fails_at_play_is_named():
    class Failing(Drawn):
        def step(self, action):
            raise RuntimeError("the ball is lost")

    words = r"step of the environment Failing raised RuntimeError: the ball is lost \(after 0 frames of an episode"
    with pytest.raises(HostError, match=words):
        begun(Failing).step(0)


def test_one_without_pictures_is_told():
    with pytest.raises(
        ValueError, match=r"render\(\) of Undrawn, whose render_mode is None, returned a NoneType, expected"
    ):
        begun(Undrawn).picture()


def test_one_that_cannot_draw_is_told_what_to_do():
    class Refusing(Undrawn):
        def render(self):
            raise NotImplementedError

    words = r"render\(\) of Refusing raised NotImplementedError; expected one that returns a picture, uint8"
    with pytest.raises(ValueError, match=words):
        begun(Refusing).picture()


def test_one_without_a_render_mode_is_watched():
    class Bare:
        observation_space, action_space = Drawn.observation_space, Drawn.action_space

        def reset(self, *, seed=None, options=None):
            return np.zeros(1, np.float32), {}

        def step(self, action):
            return np.zeros(1, np.float32), 0.0, False, False, {}

        def render(self):
            return np.zeros((8, 8, 3), np.uint8)

        def close(self):
            pass

    assert begun(Bare).picture().shape == (256, 256, 3)


def test_an_own_compiled_environment_draws_with_render():
    with pytest.raises(ValueError, match=r"Compiled has no render\(state, params\), so that there is nothing to watch"):
        begun(Compiled()).picture()

    class Grey(Compiled):
        def render(self, state, params):
            return jnp.full((8, 8), 7 * state, jnp.uint8)

    game = begun(Grey())
    assert [game.step(0) for _ in range(3)] == [(2.0, False), (2.0, False), (2.0, True)]
    assert game.picture().shape == (256, 256, 3)
    assert (game.picture() == 21).all()

    class Wrong(Compiled):
        def render(self, state, params):
            return jnp.zeros((8, 8))

    with pytest.raises(ValueError, match=r"returned float32 of shape \(8, 8\), expected a picture"):
        begun(Wrong()).picture()

    class Empty(Compiled):
        def render(self, state, params):
            return jnp.zeros((0, 8), jnp.uint8)

    with pytest.raises(ValueError, match=r"returned uint8 of shape \(0, 8\), expected a picture"):
        begun(Empty()).picture()

    class Failing(Compiled):
        def render(self, state, params):
            raise KeyError("colour")

    with pytest.raises(ValueError, match=r"render\(state, params\) of Failing raised KeyError: 'colour'"):
        begun(Failing()).picture()


def test_of_several_games_the_one_that_is_played_is_drawn_in_colours():
    games = CatcherAndFlappyBird()
    for level in (0, 1):
        game, params = watched(games, games.levels[level], 3), games.levels[level]
        inner = game._state.inner[level]  # pyright: ignore[reportAttributeAccessIssue]
        expected = colour_picture(games.environments[level], inner, params.inner[level], 256)
        np.testing.assert_array_equal(game.picture(), expected)
