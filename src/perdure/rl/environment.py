"""The contract between environments and agents: pure functions in the style of gymnax.

An environment is a frozen record. The state of an episode is in its `state`, the difficulty of a level in `params`.
Both are trees of arrays, so that a change of level needs no compilation, and everything can be scanned, vmapped and
saved.

Agents use only `num_actions`, `default_params`, `reset(key, params)` and `step_env(key, state, action, params)`, which
every environment of gymnax has. Where libraries differ about the end of an episode, see `perdure.rl.episode_ends`.

Source: the interface of gymnax (Lange 2022, github.com/RobertTLange/gymnax).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Shaped, UInt8

Params = TypeVar("Params", bound=tuple)
"""Parameters of a level; all leaves are arrays."""
EnvState = TypeVar("EnvState", bound=tuple)
"""State of an episode; all leaves are arrays."""


class Step(NamedTuple):
    """What an environment returns for an action, as the five values of gymnax's `step_env`."""

    observation: Shaped[Array, ...]
    state: Any
    reward: Float[Array, ""]
    done: Bool[Array, ""]
    """Whether the episode has ended, by the game or by its time limit."""
    info: dict[str, Array]
    """`terminated`: by the game; `truncated`: only by the time limit; `discount`: 0 if terminated, else 1."""


@runtime_checkable
class GymnaxLike(Protocol):
    """What an environment must have for agents to play it."""

    @property
    def num_actions(self) -> int:
        """Number of actions n, 0 ≤ action < n."""
        ...

    @property
    def default_params(self) -> Any:
        """Parameters of the first level."""
        ...

    def reset(self, key: PRNGKeyArray, params: Any) -> tuple[Any, Any]:
        """Return the first observation and state of an episode."""
        ...

    def step_env(self, key: PRNGKeyArray, state: Any, action: Any, params: Any) -> tuple[Any, Any, Any, Any, Any]:
        """Return observation, state, reward, done and info after an action, without a reset at the end."""
        ...


class AbstractEnvironment(eqx.Module, Generic[Params, EnvState]):
    """An environment with levels and pictures."""

    @property
    @abstractmethod
    def num_actions(self) -> int:
        """Number of actions n, 0 ≤ action < n."""

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
        """Return the step to which an action leads, without a reset at the end of the episode."""

    @abstractmethod
    def step(self, key: PRNGKeyArray, state: EnvState, action: Int[Array, ""], params: Params) -> Step:
        """Return the step to which an action leads; after its end, observation and state are those of a new episode."""

    @abstractmethod
    def render(self, state: EnvState, params: Params) -> UInt8[Array, "84 84"]:
        """Return a grey picture of a state, rows first."""


class Environment(AbstractEnvironment[Params, EnvState], Generic[Params, EnvState]):
    """A game: subclasses say how an episode begins, what an action does, and how a state is drawn."""

    def step(self, key: PRNGKeyArray, state: EnvState, action: Int[Array, ""], params: Params) -> Step:
        """Return the step to which an action leads; after its end, observation and state are those of a new episode."""
        step_key, reset_key = jax.random.split(key)
        after = self.step_env(step_key, state, action, params)
        observation, state = jax.tree.map(
            lambda reset, stepped: jnp.where(after.done, reset, stepped),
            self.reset(reset_key, params),
            (after.observation, after.state),
        )
        return after._replace(observation=observation, state=state)
