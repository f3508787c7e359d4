"""State vectors with how they change: what one frame does not show, and several frames do."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8

from perdure.rl.environment import Environment, EnvState, Params, Step

GAIN = 7.0
"""Factor of the changes: 1 is then about as fast as things move at the last level of Catcher."""


class MotionState(NamedTuple):
    """What an episode has come to, and what was seen in the last frame."""

    inner: Any
    """State of the environment that is looked at."""
    seen: Float[Array, " numbers"]
    """Its observation."""


class MotionObservations(Environment[Params, MotionState], Generic[Params, EnvState]):
    """An environment whose observations are its state vector and the change since the last frame: (2 · numbers,).

    The changes are multiplied by `GAIN` and clipped to ±1; in an episode's first frame they are zero. Without them an
    agent cannot know how fast things move, which is all that the levels of Catcher differ in; pictures tell it, for
    agents see several of them at once. Parameters, rewards and ends are those of `environment`.
    """

    environment: Environment[Params, EnvState]

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

    def reset(self, key: PRNGKeyArray, params: Params) -> tuple[Float[Array, " numbers"], MotionState]:
        """Return the first observation and state of an episode."""
        seen, inner = self.environment.reset(key, params)
        return jnp.concatenate([seen, jnp.zeros_like(seen)]), MotionState(inner, seen)

    def step_env(self, key: PRNGKeyArray, state: MotionState, action: Int[Array, ""], params: Params) -> Step:
        """Return what an action leads to, without beginning anew."""
        after = self.environment.step_env(key, state.inner, action, params)
        change = jnp.clip(GAIN * (after.observation - state.seen), -1, 1)
        observation = jnp.concatenate([after.observation, change])
        return after._replace(observation=observation, state=MotionState(after.state, after.observation))

    def render(self, state: MotionState, params: Params) -> UInt8[Array, "84 84"]:
        """Return a grey picture of a state, rows first."""
        return self.environment.render(state.inner, params)
