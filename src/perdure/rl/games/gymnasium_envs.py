"""The games as environments of Gymnasium; needs the extra `gym`.

They are registered when this module is imported, which ``gymnasium.make`` does if the name says where they are:
``gymnasium.make("perdure.rl.games.gymnasium_envs:perdure/Catcher-v0", level=3)``.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jaxtyping import Array

from perdure.rl.catalog import make_game
from perdure.rl.environment import AbstractEnvironment, Step
from perdure.rl.games.pictures import colour_picture
from perdure.rl.schedule import check_level

FRAMES_PER_SECOND = 30
GYMNASIUM_IDS = {"catcher": "perdure/Catcher-v0", "flappy-bird": "perdure/FlappyBird-v0"}
"""Names of the games → their names in Gymnasium."""


def register_games() -> None:
    """Register the games with Gymnasium."""
    for game, name in GYMNASIUM_IDS.items():
        gymnasium.register(name, entry_point="perdure.rl.games.gymnasium_envs:GameEnv", kwargs={"game": game})


class GameEnv(gymnasium.Env[np.ndarray, np.int64]):
    """A game of perdure at one level.

    Observations are the game's normalised numbers, float32 and within [−1, 1], or the last grey pictures, uint8
    (4, 84, 84) or (2, 42, 42). A game that ends is `terminated`, one that reaches the time limit of 1000 frames is
    `truncated`.
    """

    # Gymnasium declares it as a plain attribute, which a ClassVar may not override.
    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": FRAMES_PER_SECOND}  # noqa: RUF012 - as Gymnasium has it

    def __init__(self, game: str, level: int = 0, observation: str = "state", render_mode: str | None = None):
        """Make a game; an episode starts with `reset`.

        Args:
            game: "catcher" or "flappy-bird".
            level: from 0, the easiest, to 5.
            observation: "state" for a vector of numbers, "frames" for the last four pictures, or "frames-small".
            render_mode: None, "rgb_array" for colour pictures from `render`, or "human" for a window that shows every
                frame.

        Raises:
            ValueError: if there is no such game, level, observation or render mode.
            RuntimeError: if there is to be a window but no display.
        """
        self._game = make_game(game, observation)
        levels = self._game.levels
        check_level(level, len(levels))
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            modes = " or ".join(repr(mode) for mode in self.metadata["render_modes"])
            raise ValueError(f"render_mode = {render_mode!r}, expected None, {modes}")
        self._params = levels[level]
        self._state: Any = None
        self._window = None
        self.render_mode = render_mode
        self.action_space = spaces.Discrete(self._game.num_actions)
        seen, state = jax.eval_shape(self._game.reset, jax.random.key(0), self._params)
        limits = (0, 255) if seen.dtype == jnp.uint8 else (-1, 1)
        self.observation_space = spaces.Box(*limits, seen.shape, np.dtype(seen.dtype).type)
        if render_mode == "human":
            blank = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), state)
            from perdure.rl.games.window import Window  # takes half a second, and only a window needs it

            rows, columns, _ = colour_picture(self._game, blank, self._params).shape
            self._window = Window(f"{GYMNASIUM_IDS[game]}, level {level}", rows, columns)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode; there are no options."""
        super().reset(seed=seed)
        observation, self._state = _reset(self._game, self._seed(), self._params)
        self._show()
        return np.asarray(observation), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Return observation, reward, terminated, truncated and info after an action.

        Raises:
            ValueError: if there is no such action.
            RuntimeError: if no episode has started.
        """
        if not self.action_space.contains(action):
            raise ValueError(f"action = {action!r}, expected a whole number from 0 to {self._game.num_actions - 1}")
        if self._state is None:
            raise RuntimeError("no episode has started; call reset first")
        after = _step_env(self._game, self._seed(), self._state, np.int32(action), self._params)
        self._state = after.state
        self._show()
        terminated, truncated = bool(after.info["terminated"]), bool(after.info["truncated"])
        return np.asarray(after.observation), float(after.reward), terminated, truncated, {}

    def render(self) -> np.ndarray | None:
        """Return a colour picture, rows first, if the render mode is "rgb_array"; a window shows frames by itself.

        Raises:
            RuntimeError: if no episode has started.
        """
        if self.render_mode != "rgb_array":
            return None
        if self._state is None:
            raise RuntimeError("there is no picture before an episode has started; call reset first")
        return colour_picture(self._game, self._state, self._params)

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()

    def _seed(self) -> np.uint32:
        return self.np_random.integers(2**32, dtype=np.uint32)

    def _show(self) -> None:
        if self._window is not None:
            picture = colour_picture(self._game, self._state, self._params)
            self._window.show(picture, 1 / FRAMES_PER_SECOND)


@eqx.filter_jit
def _reset(game: AbstractEnvironment[Any, Any], seed: Any, params: Any) -> tuple[Array, Any]:
    return game.reset(jax.random.key(seed), params)


@eqx.filter_jit
def _step_env(game: AbstractEnvironment[Any, Any], seed: Any, state: Any, action: Any, params: Any) -> Step:
    return game.step_env(jax.random.key(seed), state, jnp.asarray(action), params)


register_games()
