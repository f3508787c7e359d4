"""State vectors with how they change: what one frame does not show, and several frames do."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8

from perdure.rl.environment import Params, SeenOtherwise, Step

GAIN = 7.0
"""Factor of the changes: 1 is then about as fast as things move at the last level of Catcher."""


class MotionState(NamedTuple):
    """What an episode has come to, and what was seen in the last frame."""

    inner: Any
    """State of the environment that is looked at."""
    seen: Float[Array, " numbers"]
    """Its observation."""


class MotionObservations(SeenOtherwise[Params, MotionState], Generic[Params]):
    """An environment whose observations are its state vector and the change since the last frame: (2 · numbers,).

    The changes are multiplied by `GAIN` and clipped to ±1; in an episode's first frame they are zero. Without them an
    agent cannot know how fast things move, which is all that the levels of Catcher differ in; pictures tell it, for
    agents see several of them at once.
    """

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
