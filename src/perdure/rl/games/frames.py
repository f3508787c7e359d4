"""Environments whose observations are their last grey frames, as in Mnih et al. (2015), or smaller."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, UInt8

from perdure.rl.environment import AbstractEnvironment, Environment, Params, Step
from perdure.rl.games.canvas import SIDE
from perdure.rl.games.rules import whole_number


class FrameState(NamedTuple):
    """State of an episode, and its last pictures."""

    inner: Any
    """State of the environment inside."""
    frames: UInt8[Array, "stacked side side"]
    """The last pictures, oldest first."""


class FrameObservations(AbstractEnvironment[Params, FrameState], Generic[Params]):
    """An environment whose observations are its last pictures: (n_stacked, side, side), uint8, oldest first.

    Parameters, rewards and ends are those of the environment inside. An episode begins with its first picture repeated
    n_stacked times. A pixel of a smaller picture is the mean of those that it covers.
    """

    environment: Environment[Params, Any]
    n_stacked: int = eqx.field(static=True, default=4)
    side: int = eqx.field(static=True, default=SIDE, kw_only=True)
    """Height and width of a picture: 84, or a divisor of it, as 42, 28 or 21."""

    def __check_init__(self) -> None:
        """Check number and size of the pictures."""
        whole_number("n_stacked", self.n_stacked, 1)
        whole_number("side", self.side, 1)
        if SIDE % self.side:
            raise ValueError(f"side = {self.side}, expected a divisor of {SIDE}, such as 84, 42 or 28")

    @property
    def num_actions(self) -> int:
        """Number of actions of the environment."""
        return self.environment.num_actions

    @property
    def default_params(self) -> Params:
        """Parameters of the environment's first level."""
        return self.environment.default_params

    @property
    def levels(self) -> tuple[Params, ...]:
        """Parameters of the environment's levels."""
        return self.environment.levels

    def reset(self, key: PRNGKeyArray, params: Params) -> tuple[UInt8[Array, "stacked side side"], FrameState]:
        """Return the first observation and state of an episode."""
        _, inner = self.environment.reset(key, params)
        frames = self._repeated(self._picture(inner, params))
        return frames, FrameState(inner, frames)

    def step_env(self, key: PRNGKeyArray, state: FrameState, action: Int[Array, ""], params: Params) -> Step:
        """Return the step to which an action leads, without a reset at the end of the episode."""
        after = self.environment.step_env(key, state.inner, action, params)
        frames = self._shifted(state.frames, self._picture(after.state, params))
        return after._replace(observation=frames, state=FrameState(after.state, frames))

    def step(self, key: PRNGKeyArray, state: FrameState, action: Int[Array, ""], params: Params) -> Step:
        """Return the step to which an action leads; after its end, observation and state are those of a new episode."""
        # The environment inside resets, so that only one picture is drawn, not those of both states.
        after = self.environment.step(key, state.inner, action, params)
        picture = self._picture(after.state, params)
        frames = jnp.where(after.done, self._repeated(picture), self._shifted(state.frames, picture))
        return after._replace(observation=frames, state=FrameState(after.state, frames))

    def render(self, state: FrameState, params: Params) -> UInt8[Array, "side side"]:
        """Return the last picture."""
        return state.frames[-1]

    def _picture(self, inner: Any, params: Params) -> UInt8[Array, "side side"]:
        return _shrunk(self.environment.render(inner, params), self.side)

    def _repeated(self, picture: UInt8[Array, "side side"]) -> UInt8[Array, "stacked side side"]:
        return jnp.broadcast_to(picture, (self.n_stacked, *picture.shape))

    def _shifted(
        self, frames: UInt8[Array, "stacked side side"], picture: UInt8[Array, "side side"]
    ) -> UInt8[Array, "stacked side side"]:
        return jnp.concatenate([frames[1:], picture[None]])


def unchanged(environment: Environment[Params, Any]) -> Environment[Params, Any]:
    """Return an environment as it is, with its own numbers as observations."""
    return environment


def small_frames(environment: Environment[Params, Any]) -> FrameObservations[Params]:
    """Return an environment whose observations are its last two pictures of 42 × 42, which a CPU can afford."""
    return FrameObservations(environment, n_stacked=2, side=SIDE // 2)


def _shrunk(picture: UInt8[Array, "84 84"], side: int) -> UInt8[Array, "side side"]:
    """Return a picture of which each pixel is the mean of a square of pixels."""
    each = SIDE // side
    if each == 1:
        return picture
    squares = picture.reshape(side, each, side, each).astype(jnp.float32)
    return jnp.round(squares.mean(axis=(1, 3))).astype(jnp.uint8)
