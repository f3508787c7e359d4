"""The contract between environments and agents: pure functions in the style of gymnax.

An environment is a frozen record; what an episode needs lives in its `state`, what makes it easier or harder in
`params`. Both are tuples of arrays, so that a change of level compiles nothing anew, and everything can be scanned
over, vmapped and saved.

Agents ask an environment for `num_actions`, `default_params`, `reset(key, params)` and
`step_env(key, state, action, params)` only; every gymnax environment has these.

Source: the interface of gymnax (Lange 2022).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Shaped, UInt8

Params = TypeVar("Params", bound=tuple)
"""What makes an environment easier or harder; all leaves are arrays."""
EnvState = TypeVar("EnvState", bound=tuple)
"""What an episode has come to; all leaves are arrays."""


class Step(NamedTuple):
    """What an environment returns for an action; a tuple as gymnax's."""

    observation: Shaped[Array, ...]
    state: Any
    reward: Float[Array, ""]
    done: Bool[Array, ""]
    """Has the episode ended, in whatever way?"""
    info: dict[str, Array]
    """`terminated`: has the game ended it? `truncated`: only the time limit? `discount`: 0 if terminated, else 1."""


@runtime_checkable
class GymnaxLike(Protocol):
    """What agents ask of an environment."""

    @property
    def num_actions(self) -> int:
        """Number of actions, 0 ≤ action < number."""
        ...

    @property
    def default_params(self) -> Any:
        """Parameters to begin with."""
        ...

    def reset(self, key: PRNGKeyArray, params: Any) -> tuple[Any, Any]:
        """Return the first observation and state of an episode."""
        ...

    def step_env(self, key: PRNGKeyArray, state: Any, action: Any, params: Any) -> tuple[Any, Any, Any, Any, Any]:
        """Return observation, state, reward, done and info after an action, without beginning anew."""
        ...


class Environment(eqx.Module, Generic[Params, EnvState]):
    """A game of perdure: an environment with levels and pictures."""

    @property
    @abstractmethod
    def num_actions(self) -> int:
        """Number of actions, 0 ≤ action < number."""

    @property
    @abstractmethod
    def default_params(self) -> Params:
        """Parameters of the first level."""

    @property
    @abstractmethod
    def levels(self) -> tuple[Params, ...]:
        """Parameters of all levels, from easy to hard."""

    @abstractmethod
    def reset(self, key: PRNGKeyArray, params: Params) -> tuple[Shaped[Array, ...], EnvState]:
        """Return the first observation and state of an episode."""

    @abstractmethod
    def step_env(self, key: PRNGKeyArray, state: EnvState, action: Int[Array, ""], params: Params) -> Step:
        """Return what an action leads to, without beginning anew."""

    @abstractmethod
    def render(self, state: EnvState, params: Params) -> UInt8[Array, "84 84"]:
        """Return a grey picture of a state, rows first."""

    def step(self, key: PRNGKeyArray, state: EnvState, action: Int[Array, ""], params: Params) -> Step:
        """Return what an action leads to; after the end of an episode, observation and state are those of the next."""
        step_key, reset_key = jax.random.split(key)
        after = self.step_env(step_key, state, action, params)
        fresh = self.reset(reset_key, params)
        observation, state = jax.tree.map(
            lambda new, old: jnp.where(after.done, new, old), fresh, (after.observation, after.state)
        )
        return after._replace(observation=observation, state=state)
