"""An episode that is looked at while it is played: of a game of perdure, of gymnax, of Gymnasium, or an own one."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from perdure.experiments.agents.film import Picture
from perdure.rl.environment import AbstractEnvironment, GymnaxLike
from perdure.rl.episode_ends import step
from perdure.rl.games.pictures import colour_picture
from perdure.rl.hosted import HostedEnvironment, HostedEpisode, HostedLevel

_ROWS = 256
"""Fewest rows of a picture; smaller ones are enlarged."""


class Watched(ABC):
    """An episode under way."""

    observation: Any
    """On which the next action is chosen."""

    @abstractmethod
    def step(self, action: int) -> tuple[float, bool]:
        """Return the reward of an action, and whether the episode is over."""

    @abstractmethod
    def picture(self) -> Picture:
        """Return a picture of where the episode is.

        Raises:
            ValueError: if the environment draws none.
        """

    @abstractmethod
    def close(self) -> None:
        """Close what has been opened."""


def watched(environment: GymnaxLike | HostedEnvironment, params: Any, seed: int) -> Watched:
    """Begin an episode.

    Args:
        environment: what is played.
        params: of the level.
        seed: of the episode.
    """
    if isinstance(environment, HostedEnvironment):
        return WatchedHosted(environment, params, seed)
    return WatchedCompiled(environment, params, seed)


class WatchedCompiled(Watched):
    """An episode of a game of perdure, or of another environment with the interface of gymnax."""

    def __init__(self, environment: GymnaxLike, params: Any, seed: int):
        """Begin an episode; see `watched`."""
        reset_key, self._key = jax.random.split(jax.random.key(seed))
        self._environment, self._params, self._frames = environment, params, 0
        self.observation, self._state = environment.reset(reset_key, params)
        self._step = eqx.filter_jit(partial(step, environment))

    def step(self, action: int) -> tuple[float, bool]:
        """Play a frame."""
        key = jax.random.fold_in(self._key, self._frames)
        after = self._step(key, self._state, jnp.asarray(action, jnp.int32), self._params)
        self.observation, self._state, self._frames = after.observation, after.state, self._frames + 1
        return float(after.reward), bool(after.done)

    def picture(self) -> Picture:
        """Return what the environment's `render(state, params)` draws."""
        environment: Any = self._environment
        if isinstance(environment, AbstractEnvironment):
            return colour_picture(environment, self._state, self._params, _ROWS)
        name = getattr(environment, "name", type(environment).__name__)
        if not hasattr(environment, "render"):
            raise ValueError(
                f"{name} has no render(state, params), so that there is nothing to watch; expected one that returns a "
                "picture, uint8 of shape (rows, columns) or (rows, columns, 3)"
            )
        source = f"render(state, params) of {name}"
        try:
            drawn = environment.render(self._state, self._params)
        except Exception as error:
            raise ValueError(
                f"{source} raised {type(error).__name__}: {error}; expected one that returns a picture, uint8 of shape "
                "(rows, columns) or (rows, columns, 3)"
            ) from error
        return _as_picture(drawn, source)

    def close(self) -> None:
        """Do nothing: nothing is open."""


class WatchedHosted(Watched):
    """An episode of an environment of Gymnasium."""

    def __init__(self, environment: HostedEnvironment, level: HostedLevel, seed: int):
        """Begin an episode; see `watched`.

        Raises:
            HostError: if the environment fails, as `step` does then.
        """
        self._name = environment.name
        drawing = tuple(partial(_drawing, make) for make in environment.makes)
        self._episode = HostedEpisode(dataclasses.replace(environment, makes=drawing))
        self.observation = self._episode.begin(int(level.place), seed)

    def step(self, action: int) -> tuple[float, bool]:
        """Play a frame."""
        self.observation, reward, terminated, truncated = self._episode.step(action)
        return reward, terminated or truncated

    def picture(self) -> Picture:
        """Return what the environment's `render()` draws."""
        try:
            drawn = self._episode.played.render()
        except Exception as error:
            said = f": {error}" if str(error) else ""
            raise ValueError(
                f"render() of {self._name} raised {type(error).__name__}{said}; expected one that returns a picture, "
                "uint8 of shape (rows, columns, 3), of an environment made with render_mode='rgb_array'"
            ) from error
        mode = getattr(self._episode.played, "render_mode", None)
        return _as_picture(drawn, f"render() of {self._name}, whose render_mode is {mode!r},")

    def close(self) -> None:
        """Close the environment."""
        self._episode.close()


def _drawing(make: Any) -> Any:
    """Return an environment of Gymnasium that draws pictures, if it can be told to."""
    try:
        return make(render_mode="rgb_array")
    except TypeError:  # an own class or function that takes no render_mode
        return make()


def _as_picture(drawn: Any, source: str) -> Picture:
    """Return a picture in colours, of enough rows to be looked at.

    Raises:
        ValueError: if what was drawn is no picture.
    """
    is_array = hasattr(drawn, "dtype") and hasattr(drawn, "shape")
    picture: Any = np.asarray(drawn) if is_array else np.zeros(0)
    is_grey, is_coloured = picture.ndim == 2, picture.ndim == 3 and picture.shape[2] == 3
    if picture.dtype != np.uint8 or not (is_grey or is_coloured) or picture.size == 0:
        found = f"{picture.dtype} of shape {picture.shape}" if is_array else f"a {type(drawn).__name__}"
        raise ValueError(
            f"{source} returned {found}, expected a picture, uint8 of shape (rows, columns) or (rows, columns, 3); an "
            'environment of Gymnasium draws them with render_mode="rgb_array"'
        )
    factor = -(-_ROWS // len(picture))
    return np.asarray(Image.fromarray(picture).convert("RGB")).repeat(factor, axis=0).repeat(factor, axis=1)
