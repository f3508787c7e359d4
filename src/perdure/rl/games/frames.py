"""Environments whose observations are their last grey frames, as in Mnih et al. (2015)."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, UInt8

from perdure.rl.environment import AbstractEnvironment, Environment, Params, Step
from perdure.rl.games.rules import whole_number


class FrameState(NamedTuple):
    """State of an episode, and its last pictures."""

    inner: Any
    """State of the environment inside."""
    frames: UInt8[Array, "stacked 84 84"]
    """The last pictures, oldest first."""


class FrameObservations(AbstractEnvironment[Params, FrameState], Generic[Params]):
    """An environment whose observations are its last pictures: (n_stacked, 84, 84), uint8, oldest first.

    Parameters, rewards and ends are those of the environment inside. An episode begins with its first picture repeated
    n_stacked times.
    """

    environment: Environment[Params, Any]
    n_stacked: int = eqx.field(static=True, default=4)

    def __check_init__(self) -> None:
        """Check the number of pictures."""
        whole_number("n_stacked", self.n_stacked, 1)

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

    def reset(self, key: PRNGKeyArray, params: Params) -> tuple[UInt8[Array, "stacked 84 84"], FrameState]:
        """Return the first observation and state of an episode."""
        _, inner = self.environment.reset(key, params)
        frames = self._repeated(self.environment.render(inner, params))
        return frames, FrameState(inner, frames)

    def step_env(self, key: PRNGKeyArray, state: FrameState, action: Int[Array, ""], params: Params) -> Step:
        """Return the step to which an action leads, without a reset at the end of the episode."""
        after = self.environment.step_env(key, state.inner, action, params)
        frames = self._shifted(state.frames, self.environment.render(after.state, params))
        return after._replace(observation=frames, state=FrameState(after.state, frames))

    def step(self, key: PRNGKeyArray, state: FrameState, action: Int[Array, ""], params: Params) -> Step:
        """Return the step to which an action leads; after its end, observation and state are those of a new episode."""
        # The environment inside resets, so that only one picture is drawn, not those of both states.
        after = self.environment.step(key, state.inner, action, params)
        picture = self.environment.render(after.state, params)
        frames = jnp.where(after.done, self._repeated(picture), self._shifted(state.frames, picture))
        return after._replace(observation=frames, state=FrameState(after.state, frames))

    def render(self, state: FrameState, params: Params) -> UInt8[Array, "84 84"]:
        """Return the last picture."""
        return state.frames[-1]

    def _repeated(self, picture: UInt8[Array, "84 84"]) -> UInt8[Array, "stacked 84 84"]:
        return jnp.broadcast_to(picture, (self.n_stacked, *picture.shape))

    def _shifted(
        self, frames: UInt8[Array, "stacked 84 84"], picture: UInt8[Array, "84 84"]
    ) -> UInt8[Array, "stacked 84 84"]:
        return jnp.concatenate([frames[1:], picture[None]])
